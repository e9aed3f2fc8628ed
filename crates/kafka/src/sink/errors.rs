//! What went wrong while writing, in words that name topic and partition and say what to do.

use headwater_core::{Error, ErrorKind};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::deliveries::Failure;
use crate::client::Trouble;

/// A message that was not delivered. `trouble` is what the client said last about its connections.
pub(super) fn of_delivery(failure: &Failure, trouble: &Trouble) -> Error {
    let Failure {
        topic,
        partition,
        bytes,
        error,
    } = failure;
    let place = match partition {
        Some(partition) => format!("topic '{topic}', partition {partition}"),
        None => format!("topic '{topic}'"),
    };
    let code = error.rdkafka_error_code();
    let (kind, why) = match code {
        Some(
            Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidMessageSize,
        ) => (
            ErrorKind::Data,
            format!(
                "a batch, whose largest message has {bytes} bytes, is larger than the topic's 'max.message.bytes' allows: \
                 raise that, or make messages smaller; if single messages are small enough, set the option \
                 'kafka.batch.size' below it"
            ),
        ),
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId) => (
            ErrorKind::Unavailable,
            "it does not exist: it was deleted, or has fewer partitions, or was never created".to_owned(),
        ),
        Some(Code::TopicAuthorizationFailed | Code::ClusterAuthorizationFailed) => (
            ErrorKind::Invalid,
            "the broker does not allow this user to write there: give it the right WRITE on the topic".to_owned(),
        ),
        Some(Code::InvalidRecord | Code::InvalidMessage | Code::BadMessage) => (
            ErrorKind::Data,
            "the broker refuses the message; a compacted topic takes no messages without a key".to_owned(),
        ),
        Some(Code::PolicyViolation | Code::InvalidTimestamp | Code::InvalidRequiredAcks) => {
            (ErrorKind::Invalid, error.to_string())
        }
        Some(code) if is_fencing(code) => (
            ErrorKind::Fenced,
            "another writer has taken over this query's transactions".to_owned(),
        ),
        Some(Code::MessageTimedOut | Code::TimedOutQueue) => (
            ErrorKind::Unavailable,
            format!(
                "a message was not acknowledged in time ('kafka.message.timeout.ms'){}",
                said(trouble)
            ),
        ),
        _ => (ErrorKind::Unavailable, format!("{error}{}", said(trouble))),
    };
    Error::new(kind, format!("cannot write to {place}: {why}"))
}

/// A message that the client does not take.
pub(super) fn too_large_for_the_client(failure: &Failure) -> Error {
    Error::data(format!(
        "cannot write to topic '{}': a message of {} bytes is larger than the option 'kafka.message.max.bytes' allows \
         (1000000 if not set): raise it and the topic's 'max.message.bytes', or make the message smaller",
        failure.topic, failure.bytes
    ))
}

/// A call to the client that failed; `what` says what it was to do (`cannot …`).
pub(super) fn of_call(what: &str, error: &KafkaError, trouble: &Trouble) -> Error {
    let code = error.rdkafka_error_code();
    let (kind, why) = match code {
        Some(code) if is_fencing(code) => (
            ErrorKind::Fenced,
            "another writer has taken over this query's transactions: a second run of the query, or one on a copy of \
             its checkpoint"
                .to_owned(),
        ),
        Some(Code::InvalidTransactionTimeout) => (
            ErrorKind::Invalid,
            "the broker allows no transaction to stay open that long: set the option 'kafka.transaction.timeout.ms' to \
             at most the broker's 'transaction.max.timeout.ms'"
                .to_owned(),
        ),
        Some(Code::TransactionalIdAuthorizationFailed) => (
            ErrorKind::Invalid,
            "the broker does not allow this user to write transactions: give it the rights WRITE and DESCRIBE on \
             transactional ids that begin with 'headwater-'"
                .to_owned(),
        ),
        Some(Code::GroupAuthorizationFailed) => (
            ErrorKind::Invalid,
            "the broker does not allow this user to keep the epoch's number: give it the right READ on consumer groups \
             that begin with 'headwater-'"
                .to_owned(),
        ),
        Some(Code::TopicAuthorizationFailed) => (
            ErrorKind::Invalid,
            "the broker does not allow this user to use the topic: give it the rights WRITE and, for transactions, READ"
                .to_owned(),
        ),
        Some(
            Code::Authentication
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::SSL,
        ) => (ErrorKind::Invalid, format!("{error}{}", said(trouble))),
        _ if trouble.is_refusal() => (ErrorKind::Invalid, format!("{error}{}", said(trouble))),
        _ => (ErrorKind::Unavailable, format!("{error}{}", said(trouble))),
    };
    Error::new(kind, format!("{what}: {why}"))
}

/// Whether another producer with the same transactional id has taken over.
pub(super) fn is_fencing(code: Code) -> bool {
    matches!(
        code,
        Code::ProducerFenced
            | Code::Fenced
            | Code::InvalidProducerEpoch
            | Code::TransactionCoordinatorFenced
    )
}

fn said(trouble: &Trouble) -> String {
    match trouble.last() {
        Some(last) => format!(" (the client says: {last})"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: Code) -> Failure {
        Failure {
            topic: "out".to_owned(),
            partition: Some(3),
            bytes: 2_000_000,
            error: KafkaError::MessageProduction(code),
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_told_with_the_settings() {
        let error = of_delivery(&failure(Code::MessageSizeTooLarge), &Trouble::default());
        assert_eq!(error.kind(), ErrorKind::Data);
        for part in [
            "topic 'out', partition 3: a batch, whose largest message has 2000000 bytes,",
            "'max.message.bytes'",
            "'kafka.batch.size'",
        ] {
            assert!(error.message().contains(part), "{error}");
        }
        let error = too_large_for_the_client(&failure(Code::MessageSizeTooLarge));
        assert!(
            error.message().contains("'kafka.message.max.bytes'"),
            "{error}"
        );
    }

    #[test]
    fn a_fenced_producer_is_a_fenced_query() {
        for code in [
            Code::ProducerFenced,
            Code::Fenced,
            Code::InvalidProducerEpoch,
        ] {
            assert_eq!(
                of_delivery(&failure(code), &Trouble::default()).kind(),
                ErrorKind::Fenced
            );
            let call = KafkaError::MessageProduction(code);
            assert_eq!(
                of_call("cannot", &call, &Trouble::default()).kind(),
                ErrorKind::Fenced
            );
        }
    }
}
