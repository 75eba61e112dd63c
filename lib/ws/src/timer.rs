//! The clock of a connection: tells the state machine the time when it asks for it. A connection without timeouts has no timer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use switchboard_ws_proto::{Connection, Time};
use tokio::time::{Instant, Sleep, sleep_until};

#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Box<Armed>>);

#[derive(Debug)]
struct Armed {
    /// When the state machine's time was zero.
    epoch: Instant,
    at: Time,
    sleep: Pin<Box<Sleep>>,
}

impl Timer {
    /// Ready when the state machine was told the time, and may have something to say or to send: with whether it has given up, and thrown away what
    /// was queued. Pending with the wake-up arranged.
    #[inline]
    pub(crate) fn poll(&mut self, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<bool> {
        match connection.poll_timeout() {
            Some(deadline) => self.poll_until(deadline, connection, cx),
            None => {
                if self.0.is_some() {
                    self.disarm();
                }
                Poll::Pending
            }
        }
    }

    #[cold]
    fn disarm(&mut self) {
        self.0 = None;
    }

    #[inline(never)]
    fn poll_until(&mut self, deadline: Time, connection: &mut Connection, cx: &mut Context<'_>) -> Poll<bool> {
        let armed = self.0.get_or_insert_with(|| {
            let now = Instant::now();
            Box::new(Armed { epoch: now, at: Time::ZERO, sleep: Box::pin(sleep_until(now)) })
        });
        if deadline != armed.at {
            armed.at = deadline;
            let at = armed.epoch + Duration::from_micros(deadline.as_micros());
            armed.sleep.as_mut().reset(at);
        }
        if deadline != Time::ZERO {
            ready!(armed.sleep.as_mut().poll(cx));
        }
        let now = armed.epoch.elapsed().as_micros();
        let queued = connection.transmit_len();
        connection.handle_timeout(Time::from_micros(u64::try_from(now).unwrap_or(u64::MAX)));
        Poll::Ready(connection.transmit_len() < queued)
    }
}
