//! The server as a whole: in this process where a test looks inside, as the built binary where it does not.
