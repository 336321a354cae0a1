//! One stream, one line: the commands on a stream wait in line on this node and are decided one after another, on the
//! state in place. Knows: commands, states, the order they are decided in. Must not know: any particular command.
//!
//! Commands that wait together and are about different users cannot depend on each other, so they share one append: each
//! is decided on what is durable, and none needs what another one of them decides. So a line is as fast as the store,
//! and no command is decided on a state that readers do not see.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use grantbook_events::{Event, StreamKind, StreamName, Timestamp, UserId};
use grantbook_projections::Head;
use grantbook_projections::live::{Live, State};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{Ledger, LedgerError, Origin};
use crate::decisions::{Command, Decision};
use crate::store::StoreError;

/// How often commands are decided again because another node appended to their stream meanwhile.
const MAX_CONFLICTS: usize = 64;
/// How many commands share one append, at the most, and about how many events.
const MAX_TOGETHER: usize = 64;
const MAX_EVENTS_TOGETHER: usize = 128;

/// The lines there are: a stream has one while commands on it are decided.
#[derive(Debug, Default)]
pub(super) struct Lines(Mutex<HashMap<StreamName, Vec<Box<dyn Waiting>>>>);

impl Lines {
    /// Joins the line of a stream; says whether it is new, so that the caller must work it off.
    fn join(&self, stream: &StreamName, command: Box<dyn Waiting>) -> bool {
        let mut lines = self.0.lock();
        match lines.get_mut(stream) {
            Some(line) => {
                line.push(command);
                false
            }
            None => {
                lines.insert(stream.clone(), vec![command]);
                true
            }
        }
    }

    /// The commands that wait; none ends the line.
    fn take(&self, stream: &StreamName) -> Option<Vec<Box<dyn Waiting>>> {
        let mut lines = self.0.lock();
        let line = std::mem::take(lines.get_mut(stream)?);
        if line.is_empty() {
            lines.remove(stream);
            return None;
        }
        Some(line)
    }

    /// Puts back commands that are to be decided before those that came after them.
    fn put_back(&self, stream: &StreamName, mut left: Vec<Box<dyn Waiting>>) {
        if let Some(line) = self.0.lock().get_mut(stream) {
            left.append(line);
            *line = left;
        }
    }
}

/// A command in line.
trait Waiting: Send + std::fmt::Debug {
    /// Whether its caller has gone.
    fn is_abandoned(&self) -> bool;

    /// Decides it on a state, and gives what happens, when, and where the stream is.
    fn decide(&mut self, state: &Live, stream: &StreamKind, now: Timestamp) -> Decided;

    /// Who asked.
    fn origin(&self) -> &Origin;

    /// Answers its caller: what was decided, or what broke.
    fn answer(self: Box<Self>, broke: Option<LedgerError>);
}

/// What a command decided.
struct Decided {
    events: Vec<Event>,
    now: Timestamp,
    head: Option<Head>,
}

type Answer<C> = Result<Result<<C as Command>::Answer, <C as Command>::Refusal>, LedgerError>;

struct InLine<C: Command> {
    command: C,
    origin: Origin,
    decided: Option<Result<C::Answer, C::Refusal>>,
    caller: oneshot::Sender<Answer<C>>,
}

impl<C: Command> std::fmt::Debug for InLine<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(C::NAME)
    }
}

impl<C: Command> Waiting for InLine<C> {
    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn decide(&mut self, state: &Live, stream: &StreamKind, now: Timestamp) -> Decided {
        C::State::look(state, stream, |state| {
            let head = state.map(State::head);
            // Recorded time never runs backwards within a stream, whatever the clock does.
            let now = now.max(self.command.not_before());
            let now = head.map_or(now, |head| now.max(head.recorded_at));
            let decision = self.command.decide(state, now).unwrap_or_else(Decision::refused);
            self.decided = Some(decision.answer);
            Decided { events: decision.events, now, head }
        })
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn answer(self: Box<Self>, broke: Option<LedgerError>) {
        let answer = match (broke, self.decided) {
            (Some(broke), _) => Err(broke),
            (None, Some(decided)) => Ok(decided),
            (None, None) => return,
        };
        // The caller may have gone.
        let _ = self.caller.send(answer);
    }
}

/// Ends the line if its worker breaks off: those that still wait get an error, and the next command begins another line.
struct Ending<'a> {
    lines: &'a Lines,
    stream: &'a StreamName,
    /// The worker has ended the line itself, and there may be another by now.
    is_over: bool,
}

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.lines.0.lock().remove(self.stream);
        }
    }
}

/// Commands that share one append.
#[derive(Default)]
struct Together {
    commands: Vec<Box<dyn Waiting>>,
    /// What happens, by the number of the command.
    events: Vec<(usize, Event)>,
    head: Option<Option<Head>>,
    now: Option<Timestamp>,
    users: HashSet<UserId>,
}

impl Ledger {
    /// Decides a command on the state of its stream and makes what follows durable and visible. The outer error is a
    /// fault; the inner one is the answer no.
    ///
    /// # Errors
    /// What broke. Then it is not known to have happened.
    pub async fn settle<C: Command>(self: &Arc<Self>, origin: &Origin, command: &C) -> Answer<C> {
        let kind = command.stream();
        let stream = StreamName::from(kind);
        let (caller, answer) = oneshot::channel();
        let in_line = InLine { command: command.clone(), origin: origin.clone(), decided: None, caller };
        if self.lines.join(&stream, Box::new(in_line)) {
            // A task of its own, because others wait for what this caller might not wait for.
            tokio::spawn(Arc::clone(self).work_off(stream, kind));
        }
        let broke = |_| LedgerError::OutcomeUnknown("the work on its stream broke off".to_owned());
        answer.await.map_err(broke)?
    }

    async fn work_off(self: Arc<Self>, stream: StreamName, kind: StreamKind) {
        let mut ending = Ending { lines: &self.lines, stream: &stream, is_over: false };
        while let Some(mut line) = self.lines.take(&stream) {
            line.retain(|command| !command.is_abandoned());
            let left = self.settle_together(&stream, &kind, line).await;
            self.lines.put_back(&stream, left);
        }
        ending.is_over = true;
    }

    /// Settles the first of some commands, and with it those that can share its append; gives the others.
    async fn settle_together(
        &self,
        stream: &StreamName,
        kind: &StreamKind,
        mut line: Vec<Box<dyn Waiting>>,
    ) -> Vec<Box<dyn Waiting>> {
        let mut at_most = MAX_TOGETHER;
        // What the store has beyond what is folded here, if that was asked for.
        let (mut beyond, mut is_fresh) = (None, !self.store.is_shared());
        for _ in 0..MAX_CONFLICTS {
            if let Some(poison) = self.live().quarantine_of(stream) {
                fail(line, LedgerError::Quarantined(poison));
                return Vec::new();
            }
            let (together, left) = self.decide_together((kind, beyond.as_ref(), is_fresh), line, at_most);
            let Together { mut commands, events, head, now, .. } = together;
            if !commands.is_empty() {
                let origins = commands.iter().map(|command| command.origin()).collect::<Vec<_>>();
                match self.append_together(stream, head.flatten(), events, &origins, now).await {
                    Ok(true) => {
                        commands.into_iter().for_each(|command| command.answer(None));
                        return left;
                    }
                    // Another node has appended.
                    Ok(false) => {}
                    Err(LedgerError::Store(StoreError::TooLarge(_))) if commands.len() > 1 => {
                        commands.extend(left);
                        (line, at_most) = (commands, 1);
                        continue;
                    }
                    Err(error) => {
                        fail(commands, error);
                        return left;
                    }
                }
            } else if left.is_empty() {
                return left;
            }
            commands.extend(left);
            line = commands;
            // Also that nothing would happen is worth saying only after asking the store.
            match self.beyond(stream, kind).await {
                Ok(there) => (beyond, is_fresh) = (there, true),
                Err(error) => {
                    fail(line, error);
                    return Vec::new();
                }
            }
            // A caller that gave up may have asked another node, which has appended: to decide its command again would be
            // to take what it asked there for a second use of its code.
            line.retain(|command| !command.is_abandoned());
        }
        fail(line, LedgerError::Contended(stream.clone()));
        Vec::new()
    }

    /// Decides commands as long as they can share an append. Those for which nothing happens are answered here, once
    /// the state they were decided on is fresh.
    fn decide_together(
        &self,
        (kind, beyond, is_fresh): (&StreamKind, Option<&Live>, bool),
        line: Vec<Box<dyn Waiting>>,
        at_most: usize,
    ) -> (Together, Vec<Box<dyn Waiting>>) {
        let live = self.live();
        let state = beyond.unwrap_or(&live);
        let (mut together, mut left) = (Together::default(), Vec::new());
        let mut line = line.into_iter();
        while together.commands.len() < at_most && together.events.len() < MAX_EVENTS_TOGETHER {
            let Some(mut command) = line.next() else { break };
            let now = together.now.map_or_else(|| self.recorded_now(), |now| now.max(self.recorded_now()));
            let decided = command.decide(state, kind, now);
            if decided.events.is_empty() {
                match is_fresh {
                    true => command.answer(None),
                    false => left.push(command),
                }
                continue;
            }
            // Another node's event may have been folded between two decisions.
            let is_there = together.head.is_none_or(|head| head == decided.head);
            let users = users_of(&decided.events);
            let Some(users) = users.filter(|_| is_there) else {
                let is_first = together.commands.is_empty();
                if is_first {
                    together.add(command, decided);
                } else {
                    left.push(command);
                }
                break;
            };
            if users.iter().any(|user| together.users.contains(user)) {
                left.push(command);
                continue;
            }
            together.users.extend(users);
            together.add(command, decided);
        }
        left.extend(line);
        (together, left)
    }
}

impl Together {
    fn add(&mut self, command: Box<dyn Waiting>, decided: Decided) {
        let number = self.commands.len();
        self.commands.push(command);
        self.events.extend(decided.events.into_iter().map(|event| (number, event)));
        (self.head, self.now) = (Some(decided.head), Some(decided.now));
    }
}

/// Tells every caller what broke.
fn fail(mut commands: Vec<Box<dyn Waiting>>, broke: LedgerError) {
    if commands.len() > 1 {
        let shared = Arc::new(broke);
        commands
            .into_iter()
            .for_each(|command| command.answer(Some(LedgerError::Shared(Arc::clone(&shared)))));
    } else if let Some(only) = commands.pop() {
        only.answer(Some(broke));
    }
}

/// The users that events are about, if that is all they are about.
fn users_of(events: &[Event]) -> Option<Vec<UserId>> {
    let user = |event: &Event| {
        let Event::Installation(event) = event else { return None };
        event.user().cloned()
    };
    events.iter().map(user).collect()
}
