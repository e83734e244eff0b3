{{/*
What the operator may do in a namespace whose resources it works on, and why: one comment a rule. With `watchNamespaces`
these are Roles in just those namespaces, otherwise one ClusterRole.
*/}}
{{- define "edgereel.rules" -}}
# The resources that people declare: read, never written.
- apiGroups: [edgereel.dev]
  resources: [camerastreams, cameraworkers, framesinks, kafkaconnections]
  verbs: [get, list, watch]
# Their status: conditions and figures.
- apiGroups: [edgereel.dev]
  resources: [camerastreams/status, cameraworkers/status, framesinks/status, kafkaconnections/status]
  verbs: [patch]
# Children name their owner so that it cannot go before them (`blockOwnerDeletion`). Clusters that check who may say so,
# such as OpenShift, ask for this right; no finalizer is ever set.
- apiGroups: [edgereel.dev]
  resources: [camerastreams/finalizers, cameraworkers/finalizers, framesinks/finalizers]
  verbs: [update]
# A camera's or CameraWorker's Deployment and a sink's StatefulSet: created, kept by server-side apply, seen when someone edits them, removed
# when they are no longer wanted.
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch, delete]
# A camera that reads a folder to its end is a Job.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
# The resource documents that a worker runs, and its Service for metrics and names.
- apiGroups: [""]
  resources: [configmaps, services]
  verbs: [get, list, watch, create, patch, delete]
# Sinks with several replicas.
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
# A sink's claims grow when their declared size does. They are neither made nor deleted: the StatefulSet's controller makes them.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, patch]
# Whether a referenced Secret is there, and a checksum of it, so that new content rolls the pods. It is copied only where
# `sharedConnections` is on.
- apiGroups: [""]
  resources: [secrets]
  verbs: [get, list, watch]
# Pods: where they run, why they do not, whom to ask for figures. Made only to have a new worker image on a node before the
# old pod goes; deleted when they have done that, and to get a rollout past a pod of an old revision that never became ready,
# or has ended. Patched (one annotation) to have the kubelet look at once at the changed configuration of a CameraWorker's pod.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, patch, delete]
# One Lease in each namespace that has resources: whether another installation works on it.
# (One that is not there yet has no name to allow by.)
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [edgereel-operator-works-here]
  verbs: [get, update]
# What happened, in the words of `kubectl describe`; and what the kubelet and the StatefulSet's controller say only there of
# a pod that does not start.
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [list, create, patch]
{{- end -}}
{{/*
What it may do besides with `sharedConnections`.
*/}}
{{- define "edgereel.sharingRules" -}}
# Copies of the Secrets of a KafkaConnection of another namespace, beside the workers that use it. (A rule cannot tell copies from
# other Secrets; the operator touches only what has its resource for an owner.)
- apiGroups: [""]
  resources: [secrets]
  verbs: [create, patch, delete]
{{- end -}}
