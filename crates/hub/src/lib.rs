//! Channels, rosters, fan-out, outboxes, presence and the broker
