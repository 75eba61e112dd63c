//! Is this WebSocket server conformant? A battery of small scripts, each with the clause of a standard that it looks at.
//!
//! [`Check`] is a script, [`Run`] plays it against whatever a server sent and says what to do next; neither knows a socket or a clock. [`driver`] has both.

mod battery;
pub mod driver;
mod frames;
mod negotiated;
mod report;
mod response;
mod run;
mod script;

pub use battery::battery;
pub use report::{Format, Report};
pub use response::Response;
pub use run::{Ended, Next, Run};
pub use script::{Check, Outcome, Target, Verdict};
