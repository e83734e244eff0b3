"""Publishes a device by WS-Discovery whose service is at the address given, until it is killed."""

import sys
import threading

from wsdiscovery import QName, Scope
from wsdiscovery.publishing import ThreadedWSPublishing

address, name = sys.argv[1:]
publishing = ThreadedWSPublishing()
publishing.start()
publishing.publishService(
    types=[QName("http://www.onvif.org/ver10/network/wsdl", "NetworkVideoTransmitter")],
    scopes=[Scope("onvif://www.onvif.org/name/" + name), Scope("onvif://www.onvif.org/hardware/Unknown")],
    xAddrs=[address],
)
print("published", flush=True)
threading.Event().wait()
