//! Errors of librdkafka as errors of headwater.

use headwater_core::{Error, ErrorKind};
use rdkafka::{error::KafkaError, types::RDKafkaErrorCode};

use super::Trouble;

/// Whether the same call may succeed a little later: the broker is away or moving, not refusing.
pub(crate) fn is_passing(error: &KafkaError) -> bool {
    error.rdkafka_error_code().is_some_and(passes)
}

fn passes(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::TimedOutQueue
            | Code::Resolve
            | Code::NodeUpdate
            | Code::WaitingForCoordinator
            | Code::InProgress
            | Code::PreviousInProgress
            | Code::Outdated
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::ReplicaNotAvailable
            | Code::NetworkException
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::NotCoordinator
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::KafkaStorageError
            | Code::NotEnoughReplicas
            | Code::NotEnoughReplicasAfterAppend
            | Code::ConcurrentTransactions
    )
}

/// What the caller should do about an error of this code.
fn kind(code: Option<RDKafkaErrorCode>) -> ErrorKind {
    use RDKafkaErrorCode as Code;
    let Some(code) = code else {
        return ErrorKind::Unavailable;
    };
    match code {
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::TopicAuthorizationFailed
        | Code::GroupAuthorizationFailed
        | Code::ClusterAuthorizationFailed
        | Code::TransactionalIdAuthorizationFailed
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopic
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::InvalidConfig
        | Code::InvalidArgument
        | Code::MessageSizeTooLarge
        | Code::UnsupportedVersion => ErrorKind::Invalid,
        Code::InvalidMessage | Code::BadMessage | Code::BadCompression | Code::AutoOffsetReset => {
            ErrorKind::Data
        }
        Code::ProducerFenced | Code::InvalidProducerEpoch | Code::Fenced => ErrorKind::Fenced,
        _ => ErrorKind::Unavailable,
    }
}

/// The error of something that was asked of `servers`. `what` says what was wanted, with topic, partition and offset.
pub(crate) fn failed(what: &str, servers: &str, error: KafkaError, trouble: &Trouble) -> Error {
    let code = error.rdkafka_error_code();
    let kind = match kind(code) {
        ErrorKind::Unavailable if trouble.is_refusal() => ErrorKind::Invalid,
        kind => kind,
    };
    let why = match trouble.last() {
        Some(last) if kind == ErrorKind::Unavailable || trouble.is_refusal() => {
            format!(" (last: {last})")
        }
        _ => String::new(),
    };
    Error::new(
        kind,
        format!("{what} failed at the Kafka brokers {servers}{why}"),
    )
    .with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_say_what_to_do() {
        let failed = |code| {
            let error = KafkaError::MetadataFetch(code);
            failed("reading topic t", "h:9092", error, &Trouble::default())
        };
        for (code, kind, passes) in [
            (
                RDKafkaErrorCode::BrokerTransportFailure,
                ErrorKind::Unavailable,
                true,
            ),
            (
                RDKafkaErrorCode::OperationTimedOut,
                ErrorKind::Unavailable,
                true,
            ),
            (
                RDKafkaErrorCode::SaslAuthenticationFailed,
                ErrorKind::Invalid,
                false,
            ),
            (
                RDKafkaErrorCode::UnknownTopicOrPartition,
                ErrorKind::Invalid,
                false,
            ),
            (RDKafkaErrorCode::InvalidMessage, ErrorKind::Data, false),
            (RDKafkaErrorCode::ProducerFenced, ErrorKind::Fenced, false),
        ] {
            assert_eq!(failed(code).kind(), kind, "{code:?}");
            assert_eq!(
                is_passing(&KafkaError::MetadataFetch(code)),
                passes,
                "{code:?}"
            );
        }
        let error = failed(RDKafkaErrorCode::BrokerTransportFailure).to_string();
        assert!(
            error.starts_with("reading topic t failed at the Kafka brokers h:9092"),
            "{error}"
        );
    }
}
