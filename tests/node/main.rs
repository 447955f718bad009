//! The real node against the simulated Slack: one binary, one file a theme.

#[cfg(test)]
mod harness;

#[cfg(test)]
mod admin;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod delivery;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod full;
#[cfg(test)]
mod peers;
#[cfg(test)]
mod process;
#[cfg(test)]
mod refresh;
#[cfg(test)]
mod shared;
#[cfg(test)]
mod trace;
#[cfg(test)]
mod truth;
