//! What Pusher's servers and libraries expect beside the WebSocket.

pub(crate) mod signature;
