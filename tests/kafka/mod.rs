//! Apache Kafka as it is: a real broker, started by `scripts/kafka`.
//!
//! Needs Java 17 and Maven, and says so where they are missing; `HEADWATER_KAFKA=skip` leaves these tests out.

mod bounds;
mod broker;
mod by_hand;
mod changes;
mod conformance;
mod gaps;
mod limits;
mod malformed;
mod query;
mod sink;
mod trouble;
