//! The epoch loop: discover, plan, run, commit, recover.
