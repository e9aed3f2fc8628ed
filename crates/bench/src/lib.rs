//! Nexmark and micro-benchmarks.
