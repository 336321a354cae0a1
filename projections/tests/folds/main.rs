//! The folds, by property: whatever well-formed history happened, the states that decisions look at and
//! the live projection that the endpoints ask say the same, and what cannot have happened is refused.

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod bounds;
#[cfg(test)]
mod digests;
#[cfg(test)]
mod expected;
#[cfg(test)]
mod history;
#[cfg(test)]
mod images;
#[cfg(test)]
mod impossible;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod readers;
#[cfg(test)]
mod steps;
