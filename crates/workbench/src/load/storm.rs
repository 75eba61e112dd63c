//! Connections themselves: many that come and go, or come and stay.

use super::connections::{Door, beats};
use super::pace::Pace;
use super::run::{Line, LoadError, Share};
use super::tally::Tally;
use core::cell::RefCell;
use core::time::Duration;
use std::rc::Rc;
use std::time::Instant;
use switchboard_ws::CloseCode;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_local};

const TELL: Duration = Duration::from_millis(250);

/// Opens connections at the rate, at most so many at once as the plan has, holds and closes them. A latency is the time from when a connection ought to have been begun
/// until it was open.
pub(crate) async fn run(share: &Share, line: &Line, door: &Door, hold: Duration) -> Result<(), LoadError> {
    let plan = &share.plan;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let places = Rc::new(Semaphore::new(share.connections as usize));
    let start = line.start();
    let end = plan.warm_up + plan.duration;
    let mut pace = Pace::new(share.rate);
    let mut beats = beats(start);
    let mut told = Duration::ZERO;
    let mut tasks = JoinSet::new();
    while start.elapsed() < end && beats.recv().await.is_some() {
        while let Some((moment, count)) = pace.take(start.elapsed()) {
            for _ in 0..count {
                let measured = moment >= plan.warm_up;
                let Ok(place) = Rc::clone(&places).try_acquire_owned_local() else {
                    if measured {
                        tally.borrow_mut().error("a connection was not begun: as many as are allowed are open");
                    }
                    continue;
                };
                let (plan, tally, number) = (plan.clone(), Rc::clone(&tally), door.next_number());
                tasks.spawn_local(async move {
                    let connected = plan.connector.connect(&plan.url_of(number)).await;
                    let took = start.elapsed().saturating_sub(moment);
                    match connected {
                        Ok((mut socket, _)) => {
                            if measured {
                                let mut tally = tally.borrow_mut();
                                tally.opened += 1;
                                tally.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
                            }
                            tokio::time::sleep(hold).await;
                            // The server's part of the close is waited for.
                            if socket.close(CloseCode::NORMAL, "").await.is_ok() {
                                while socket.recv().await.is_some() {}
                            }
                        }
                        Err(error) if measured => tally.borrow_mut().error(format!("not opened: {error}")),
                        Err(_) => {}
                    }
                    drop(place);
                });
            }
        }
        while tasks.try_join_next().is_some() {}
        if start.elapsed() >= told + TELL {
            told = start.elapsed();
            line.counted(told, tally.borrow_mut().take());
        }
    }
    let _ =
        tokio::time::timeout(Duration::from_secs(5) + hold, async { while tasks.join_next().await.is_some() {} }).await;
    line.counted(start.elapsed(), tally.borrow_mut().take());
    Ok(())
}

/// Opens all connections and holds them.
pub(crate) async fn idle(share: &Share, line: &Line, door: &Door) -> Result<(), LoadError> {
    let sockets = door.open_all(share, |count| line.opened(count)).await?;
    let tally = Rc::new(RefCell::new(Tally { opened: sockets.len() as u64, ..Tally::default() }));
    let start: Instant = line.start();
    let end = share.plan.warm_up + share.plan.duration;
    for mut socket in sockets {
        let tally = Rc::clone(&tally);
        spawn_local(async move {
            // Pings are answered meanwhile.
            while let Some(Ok(_)) = socket.recv().await {}
            if start.elapsed() < end {
                let mut tally = tally.borrow_mut();
                tally.lost += 1;
                tally.error("the server closed a connection");
            }
        });
    }
    while start.elapsed() < end {
        tokio::time::sleep(TELL.min(end.saturating_sub(start.elapsed()))).await;
        line.counted(start.elapsed(), tally.borrow_mut().take());
    }
    Ok(())
}

/// A place among those that are allowed, within one thread.
trait AcquireLocal {
    fn try_acquire_owned_local(self) -> Result<Place, ()>;
}

struct Place(Rc<Semaphore>);

impl AcquireLocal for Rc<Semaphore> {
    fn try_acquire_owned_local(self) -> Result<Place, ()> {
        self.try_acquire().map_err(|_| ())?.forget();
        Ok(Place(self))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.add_permits(1);
    }
}
