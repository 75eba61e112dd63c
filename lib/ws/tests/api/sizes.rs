//! What a connection takes while nothing happens: a task keeps room for the largest state of its future, so these sizes are the memory of
//! an idle connection (but for what tokio keeps of a socket and of a task).

use switchboard_ws::{AcceptOptions, Error, Message, WebSocket, accept_with};
use tokio::net::TcpStream;

/// The size of the future, which need not be run.
fn size_of_future<I, J, F>(_: impl FnOnce(I, J) -> F) -> usize {
    size_of::<F>()
}

async fn echo(stream: TcpStream, options: &AcceptOptions) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let mut socket = accept_with(stream, options).await?;
    while let Some(message) = socket.recv().await {
        socket.feed(message?).await?;
    }
    Ok(())
}

/// The same without errors, of which each `?` keeps room for one more message.
async fn echo_quietly(stream: TcpStream, options: &AcceptOptions) {
    let Ok(mut socket) = accept_with(stream, options).await else { return };
    while let Some(Ok(message)) = socket.recv().await {
        if socket.feed(message).await.is_err() {
            return;
        }
    }
}

#[test]
fn a_connection_is_small() {
    let socket = size_of::<WebSocket<TcpStream>>() - size_of::<TcpStream>();
    assert!(socket <= 240, "{socket} bytes");
    assert!(size_of::<Option<Result<Message, Error>>>() <= 40);
}

#[test]
fn a_task_keeps_no_room_for_the_handshake() {
    let (task, socket) = (size_of_future(echo), size_of::<WebSocket<TcpStream>>());
    assert!(task <= socket + 192, "the task {task} bytes, the connection {socket}");
    assert!(task <= 464, "{task} bytes");
}

/// With optimisation it is 392 bytes, of which the connection is 264; tokio adds 104 and gives its tasks a multiple of 128.
#[test]
fn a_loop_that_keeps_no_error_is_smaller() {
    let task = size_of_future(echo_quietly);
    assert!(task <= 440, "{task} bytes");
}
