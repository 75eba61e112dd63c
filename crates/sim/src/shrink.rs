//! A failing run made small: steps are left out for as long as the same promise is still broken.

use crate::Violation;
use crate::plan::{Action, Plan, Step};
use crate::world::simulate;

/// A small plan that breaks the same promise.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// What it breaks.
    pub violation: Violation,
    /// Runs that this took.
    pub runs: usize,
}

/// Leaves out steps, large parts first, within a number of runs.
pub fn shrink(plan: &Plan, violation: &Violation, runs_max: usize) -> Shrunk {
    let mut best = Shrunk { plan: plan.clone(), violation: violation.clone(), runs: 0 };
    // The end first, then whole clients: both are cheap and take much away.
    let mut keep = best.plan.steps.len() / 2;
    while keep > 0 && keep < best.plan.steps.len() {
        let cut = best.plan.steps.len() - keep;
        keep = if best.accept(without(&best.plan, keep, cut), violation) { keep / 2 } else { keep + cut.div_ceil(2) };
        if cut <= 1 {
            break;
        }
    }
    for client in 0..plan.setup.clients {
        let mut candidate = best.plan.clone();
        for step in candidate.steps.iter_mut().filter(|step| step.client == client) {
            step.action = Action::Nothing;
        }
        best.accept(candidate, violation);
    }
    let mut part = best.plan.steps.len().div_ceil(2);
    while part > 0 && best.runs < runs_max {
        let mut start = 0;
        let mut smaller = false;
        while start < best.plan.steps.len() && best.runs < runs_max {
            let candidate = without(&best.plan, start, part);
            if best.accept(candidate, violation) {
                smaller = true;
            } else {
                start += part;
            }
        }
        if !smaller || part > 1 {
            part /= 2;
        }
    }
    best
}

impl Shrunk {
    /// Takes a smaller plan if it breaks the same promise.
    fn accept(&mut self, candidate: Plan, violation: &Violation) -> bool {
        self.runs += 1;
        match simulate(&candidate, false).violation {
            Some(found) if found.kind == violation.kind => {
                self.plan = candidate;
                self.violation = found;
                true
            }
            _ => false,
        }
    }
}

/// The plan without some steps. Their time passes all the same.
fn without(plan: &Plan, start: usize, count: usize) -> Plan {
    let end = (start + count).min(plan.steps.len());
    let mut steps: Vec<Step> = plan.steps.clone();
    let gone: core::time::Duration = steps.drain(start..end).map(|step| step.after).sum();
    if let Some(next) = steps.get_mut(start) {
        next.after += gone;
    }
    Plan { steps, ..plan.clone() }
}
