//! The context of a group's consumer: what the [event queue](super::native) calls back to.

use std::error::Error;

use rdkafka::{
    ClientContext, TopicPartitionList,
    client::OAuthToken,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer as _, ConsumerContext, RebalanceProtocol},
    error::KafkaError,
    types::RDKafkaRespErr,
};

use crate::client::Context;

/// A client's context, in a group.
pub struct GroupContext(pub Context);

impl ConsumerContext for GroupContext {
    /// Only called while the client is being closed, by then without partitions of ours: rebalances are events before.
    fn rebalance(&self, consumer: &BaseConsumer<Self>, code: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let taken = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS;
        let _ = match consumer.rebalance_protocol() {
            RebalanceProtocol::Cooperative if taken => consumer.incremental_unassign(partitions),
            RebalanceProtocol::Cooperative => consumer.incremental_assign(&TopicPartitionList::new()),
            _ => consumer.unassign(),
        };
    }
}

impl ClientContext for GroupContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Context::ENABLE_REFRESH_OAUTH_TOKEN;

    fn log(&self, level: RDKafkaLogLevel, kind: &str, message: &str) {
        self.0.log(level, kind, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.0.stats_raw(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(error, reason);
    }

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.0.generate_oauth_token(config)
    }
}
