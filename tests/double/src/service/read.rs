//! Reading a stream, or `$all` once. Knows: directions, ends, counts and filters. Must not know: subscriptions,
//! beyond that there are some.

use std::ops::Range;
use std::sync::Arc;

use tonic::{Request, Status};

use super::filter::Filter;
use super::replies::{Hand, Replies, Stopped};
use super::subscription::Subscription;
use super::wire::{self, Ids};
use super::{Seat, stream_deleted};
use crate::connection::Line;
use crate::event::Event;
use crate::faults::{ReadFault, ReadKind};
use crate::gates::Passage;
use crate::protocol::streams::ReadReq;
use crate::protocol::streams::read_req::Options;
use crate::protocol::streams::read_req::options::all_options::AllOption;
use crate::protocol::streams::read_req::options::stream_options::RevisionOption;
use crate::protocol::streams::read_req::options::{
    CountOption, FilterOption, ReadDirection, StreamOption, StreamOptions,
};
use crate::protocol::streams::read_resp::Content;

/// How many events are looked at before others may look at the log.
pub(super) const PAGE: usize = 64;

/// A read of something that ends.
struct Read {
    seat: Seat,
    is_forwards: bool,
    count: u64,
    ids: Ids,
    /// Whether the client understands a message that says where a stream ends.
    says_last: bool,
}

impl Seat {
    pub(super) async fn answer_read(&self, request: Request<ReadReq>) -> Result<Replies, Status> {
        self.authenticate(request.metadata())?;
        self.check_leader(request.metadata())?;
        let line = request.extensions().get::<Line>().cloned();
        let missing = || Status::invalid_argument("a read without options");
        let options = request.into_inner().options.ok_or_else(missing)?;
        let kind = kind(&options)?;
        self.cluster.counters.count(self.index, |node| match kind {
            ReadKind::Stream => node.stream_reads += 1,
            ReadKind::All => node.all_reads += 1,
            ReadKind::Subscription => node.subscriptions += 1,
        });
        let fault = self.cluster.read_fault(self.node(), kind);
        let passage = self.node().reads(kind);
        if !passage.is_open() {
            let _waiting = self.cluster.counters.during(self.index, |node| &mut node.waiting_reads);
            passage.pass().await;
        }
        if fault == Some(ReadFault::Unavailable) {
            return Err(Status::unavailable("unavailable"));
        }
        self.clone().serve(options, kind, line, fault)
    }

    fn serve(
        self,
        options: Options,
        kind: ReadKind,
        line: Option<Line>,
        fault: Option<ReadFault>,
    ) -> Result<Replies, Status> {
        let ids = Ids::wanted(options.uuid_option.as_ref())?;
        let is_forwards = options.read_direction() == ReadDirection::Forwards;
        let filter = match options.filter_option {
            Some(FilterOption::Filter(filter)) => Some(Filter::parse(filter)?),
            Some(FilterOption::NoFilter(_)) | None => None,
        };
        let passage = match kind {
            ReadKind::Subscription => self.node().subscriptions.clone(),
            ReadKind::Stream | ReadKind::All => Passage::default(),
        };
        let count = match options.count_option {
            Some(CountOption::Count(count)) => count,
            Some(CountOption::Subscription(_)) | None => u64::MAX,
        };
        let says_last = options.control_option.is_some_and(|control| control.compatibility >= 1);
        let (hand, replies) = Hand::new(line, passage, fault);
        match (kind, options.stream_option) {
            (ReadKind::Subscription, Some(StreamOption::All(all))) => {
                let subscription = Subscription::begin(self, all.all_option, filter, ids)?;
                hand.spawn(|hand| subscription.run(hand));
            }
            (_, Some(StreamOption::All(all))) => {
                let read = Read { seat: self, is_forwards, count, ids, says_last };
                hand.spawn(|hand| read.all(all.all_option, filter, hand));
            }
            (_, Some(StreamOption::Stream(stream))) => {
                let name = wire::stream_name(stream.stream_identifier.clone())?;
                let visible = *self.node().visible.borrow();
                if self.cluster.log().is_buried(&name, visible) {
                    return Err(stream_deleted(&name));
                }
                let read = Read { seat: self, is_forwards, count, ids, says_last };
                hand.spawn(|hand| read.stream(name, stream, hand));
            }
            (_, None) => return Err(nothing_named()),
        }
        Ok(replies)
    }
}

fn nothing_named() -> Status {
    Status::invalid_argument("a read of nothing")
}

/// What is to be read. The server does not guess: a request says in all cases whether it has a filter.
fn kind(options: &Options) -> Result<ReadKind, Status> {
    let has_filter = matches!(options.filter_option, Some(FilterOption::Filter(_)));
    let is_of_stream = matches!(options.stream_option, Some(StreamOption::Stream(_)));
    let is_for_ever = matches!(options.count_option, Some(CountOption::Subscription(_)));
    let is_backwards = options.read_direction() == ReadDirection::Backwards;
    if options.filter_option.is_none() || is_of_stream && has_filter || is_for_ever && is_backwards {
        return Err(Status::invalid_argument("The combination of options is invalid."));
    }
    match (&options.stream_option, &options.count_option) {
        (None, _) => Err(nothing_named()),
        (_, None) => Err(Status::invalid_argument("a read of nobody knows how much")),
        (Some(StreamOption::Stream(_)), Some(CountOption::Count(_))) => Ok(ReadKind::Stream),
        (Some(StreamOption::All(_)), Some(CountOption::Count(_))) => Ok(ReadKind::All),
        (Some(StreamOption::All(_)), Some(CountOption::Subscription(_))) => Ok(ReadKind::Subscription),
        (Some(StreamOption::Stream(_)), Some(CountOption::Subscription(_))) => {
            Err(Status::unimplemented("this double has subscriptions to $all only"))
        }
    }
}

/// Takes the next part of a range, from its front or from its back.
fn take_part(range: &mut Range<usize>, is_forwards: bool) -> Range<usize> {
    let length = range.len().min(PAGE);
    if is_forwards {
        let part = range.start..range.start + length;
        range.start = part.end;
        part
    } else {
        let part = range.end - length..range.end;
        range.end = part.start;
        part
    }
}

impl Read {
    async fn stream(self, name: String, options: StreamOptions, mut hand: Hand) -> Result<(), Stopped> {
        hand.begin().await?;
        let Some((mut revisions, last)) = self.revisions(&name, &options) else {
            hand.message(wire::stream_not_found(&name)).await?;
            return hand.end().await;
        };
        let mut left = self.count;
        while left > 0 && !revisions.is_empty() {
            let part = take_part(&mut revisions, self.is_forwards);
            let page = self.page_of_stream(&name, part);
            self.send(page, &mut left, &mut hand).await?;
        }
        if self.says_last {
            hand.message(wire::content(Content::LastStreamPosition(last))).await?;
        }
        hand.end().await
    }

    /// The revisions that can be read, and the last one there is; `None` if there is no such stream, or it is deleted.
    fn revisions(&self, name: &str, options: &StreamOptions) -> Option<(Range<usize>, u64)> {
        let log = self.seat.cluster.log();
        let end = log.places(name, *self.seat.node().visible.borrow())?.len();
        let last = end as u64 - 1;
        let retention = log.retention(name);
        if retention.is_deleted() {
            return None;
        }
        let first = retention.first_revision(last);
        let first = usize::try_from(first).unwrap_or(end).min(end);
        let named = match options.revision_option {
            Some(RevisionOption::Revision(revision)) => usize::try_from(revision).unwrap_or(usize::MAX),
            Some(RevisionOption::Start(_)) | None => 0,
            Some(RevisionOption::End(_)) => usize::MAX,
        };
        let revisions = if self.is_forwards {
            named.clamp(first, end)..end
        } else {
            first..named.saturating_add(1).clamp(first, end)
        };
        Some((revisions, last))
    }

    fn page_of_stream(&self, name: &str, revisions: Range<usize>) -> Vec<Arc<Event>> {
        let now = self.seat.cluster.clock.ticks();
        let log = self.seat.cluster.log();
        let retention = log.retention(name);
        let places = log.places(name, usize::MAX).and_then(|places| places.get(revisions));
        let events = places.unwrap_or_default().iter().filter_map(|&place| log.at(place));
        events.filter(|event| retention.keeps(event, now)).cloned().collect()
    }

    async fn all(
        self,
        from: Option<AllOption>,
        filter: Option<Filter>,
        mut hand: Hand,
    ) -> Result<(), Stopped> {
        hand.begin().await?;
        let mut places = self.places(from);
        let mut left = self.count;
        while left > 0 && !places.is_empty() {
            let part = take_part(&mut places, self.is_forwards);
            let wanted = |event: &&Arc<Event>| filter.as_ref().is_none_or(|filter| filter.wants(event));
            let page =
                self.seat.cluster.log().page(part, PAGE).iter().flatten().filter(wanted).cloned().collect();
            self.send(page, &mut left, &mut hand).await?;
        }
        hand.end().await
    }

    /// Forwards from a position includes what is there, backwards does not.
    fn places(&self, from: Option<AllOption>) -> Range<usize> {
        let end = *self.seat.node().visible.borrow();
        let named = match from {
            Some(AllOption::Position(at)) => self.seat.cluster.log().place_at(at.commit_position),
            Some(AllOption::Start(_)) | None => 0,
            Some(AllOption::End(_)) => end,
        };
        if self.is_forwards { named.min(end)..end } else { 0..named.min(end) }
    }

    /// Hands over the events of a part, as many as are wanted.
    async fn send(&self, mut page: Vec<Arc<Event>>, left: &mut u64, hand: &mut Hand) -> Result<(), Stopped> {
        if !self.is_forwards {
            page.reverse();
        }
        for event in page {
            if *left == 0 {
                break;
            }
            hand.event(wire::event(&event, self.ids)).await?;
            *left -= 1;
        }
        Ok(())
    }
}
