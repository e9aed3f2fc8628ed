//! Streaming operators as DataFusion execution plans.
