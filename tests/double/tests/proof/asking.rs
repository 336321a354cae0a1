//! How the tests ask: through the `eventstore` client, and with the bare messages.

use eventstore::{
    AppendToStreamOptions, Client, EventData, ExpectedRevision, ReadStreamOptions, StreamPosition,
};
use grantbook_eventstore_double::protocol::streams::read_req::options::all_options::AllOption;
use grantbook_eventstore_double::protocol::streams::read_req::options::filter_options::{
    Expression, Filter, Window,
};
use grantbook_eventstore_double::protocol::streams::read_req::options::{
    AllOptions, CountOption, FilterOption, FilterOptions, Position, StreamOption, StreamOptions,
    SubscriptionOptions, UuidOption, stream_options::RevisionOption, uuid_option,
};
use grantbook_eventstore_double::protocol::streams::read_resp::Content;
use grantbook_eventstore_double::protocol::streams::streams_client::StreamsClient;
use grantbook_eventstore_double::protocol::streams::{ReadReq, ReadResp, read_req};
use grantbook_eventstore_double::protocol::{Empty, StreamIdentifier};
use grantbook_eventstore_double::{Double, Options};
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};
use uuid::Uuid;

/// One node, without events of the system between the others.
pub async fn quiet() -> Double {
    Double::start(Options { stats_every: 0, ..Options::default() }).await.unwrap()
}

/// Three nodes, likewise.
pub async fn three() -> Double {
    Double::start(Options { nodes: 3, stats_every: 0, ..Options::default() }).await.unwrap()
}

/// A client of a connection string that asks whichever node.
pub fn client(url: &str) -> Client {
    connect(url, "random")
}

/// A client of a connection string that wants the leader and nobody else, as is its default.
pub fn client_of_leader(url: &str) -> Client {
    connect(url, "leader")
}

fn connect(url: &str, preference: &str) -> Client {
    let settings = format!("{url}&nodePreference={preference}&discoveryInterval=5&maxDiscoverAttempts=20");
    Client::new(settings.parse().unwrap()).unwrap()
}

/// An event whose data says its number.
pub fn numbered(number: usize) -> EventData {
    EventData::binary("numbered", number.to_string().into()).id(Uuid::from_u128(number as u128 + 1))
}

/// Appends with an expectation.
pub async fn append(
    client: &Client,
    stream: &str,
    expected: ExpectedRevision,
    events: Vec<EventData>,
) -> eventstore::Result<eventstore::WriteResult> {
    let options = AppendToStreamOptions::default().expected_revision(expected);
    client.append_to_stream(stream, &options, events).await
}

/// The numbers in a stream, in the order they are read.
pub async fn read(
    client: &Client,
    stream: &str,
    options: &ReadStreamOptions,
) -> eventstore::Result<Vec<usize>> {
    let mut events = client.read_stream(stream, options).await?;
    let mut numbers = vec![];
    while let Some(event) = events.next().await? {
        numbers.push(std::str::from_utf8(&event.get_original_event().data).unwrap().parse().unwrap());
    }
    Ok(numbers)
}

/// All of a stream, forwards.
pub fn forwards() -> ReadStreamOptions {
    ReadStreamOptions::default().position(StreamPosition::Start).forwards()
}

/// A bare client of a node.
pub fn bare(double: &Double, node: usize) -> StreamsClient<Channel> {
    let address = format!("http://127.0.0.1:{}", double.port(node));
    StreamsClient::new(Endpoint::from_shared(address).unwrap().connect_lazy())
}

/// A subscription from a position, to streams that begin so, with a checkpoint behind every so many others.
pub fn subscription(after: Option<u64>, prefix: &str, window: u32) -> ReadReq {
    let expression = Expression { regex: String::new(), prefix: vec![prefix.to_owned()] };
    request(read_req::Options {
        stream_option: Some(StreamOption::All(AllOptions { all_option: Some(all_option(after)) })),
        count_option: Some(CountOption::Subscription(SubscriptionOptions {})),
        filter_option: Some(FilterOption::Filter(FilterOptions {
            filter: Some(Filter::StreamIdentifier(expression)),
            window: Some(Window::Max(window)),
            checkpoint_interval_multiplier: 1,
        })),
        ..Default::default()
    })
}

/// A read of `$all` from a position.
pub fn read_all(from: Option<u64>, count: u64) -> ReadReq {
    request(read_req::Options {
        stream_option: Some(StreamOption::All(AllOptions { all_option: Some(all_option(from)) })),
        count_option: Some(CountOption::Count(count)),
        filter_option: Some(FilterOption::NoFilter(Empty {})),
        ..Default::default()
    })
}

/// A read of a stream from its start.
pub fn read_stream(stream: &str) -> ReadReq {
    let stream_identifier = Some(StreamIdentifier { stream_name: stream.to_owned().into() });
    let revision_option = Some(RevisionOption::Start(Empty {}));
    request(read_req::Options {
        stream_option: Some(StreamOption::Stream(StreamOptions { stream_identifier, revision_option })),
        count_option: Some(CountOption::Count(u64::MAX)),
        filter_option: Some(FilterOption::NoFilter(Empty {})),
        ..Default::default()
    })
}

fn request(options: read_req::Options) -> ReadReq {
    let uuid_option = Some(UuidOption { content: Some(uuid_option::Content::String(Empty {})) });
    ReadReq { options: Some(read_req::Options { uuid_option, ..options }) }
}

fn all_option(from: Option<u64>) -> AllOption {
    from.map_or(AllOption::Start(Empty {}), |commit_position| {
        AllOption::Position(Position { commit_position, prepare_position: commit_position })
    })
}

/// What a reply says, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    Confirmed,
    Event(String),
    Checkpoint(u64),
    CaughtUp,
    FellBehind,
    NotFound,
    Last(u64),
    Nothing,
}

/// An event with this number.
pub fn event(number: usize) -> Said {
    Said::Event(number.to_string())
}

impl From<ReadResp> for Said {
    fn from(reply: ReadResp) -> Self {
        match reply.content {
            Some(Content::Event(event)) => {
                let event = event.event.unwrap();
                Self::Event(String::from_utf8(event.data.to_vec()).unwrap())
            }
            Some(Content::Confirmation(_)) => Self::Confirmed,
            Some(Content::Checkpoint(at)) => Self::Checkpoint(at.commit_position),
            Some(Content::StreamNotFound(_)) => Self::NotFound,
            Some(Content::CaughtUp(_)) => Self::CaughtUp,
            Some(Content::LastStreamPosition(last)) => Self::Last(last),
            Some(Content::FellBehind(_)) => Self::FellBehind,
            None => Self::Nothing,
        }
    }
}

/// The next reply; `None` at a clean end.
pub async fn next(replies: &mut Streaming<ReadResp>) -> Result<Option<Said>, Status> {
    Ok(replies.message().await?.map(Said::from))
}

/// All replies up to the end, and how it ended.
pub async fn rest(replies: &mut Streaming<ReadResp>) -> (Vec<Said>, Result<(), Status>) {
    let mut said = vec![];
    loop {
        match next(replies).await {
            Ok(Some(reply)) => said.push(reply),
            Ok(None) => return (said, Ok(())),
            Err(status) => return (said, Err(status)),
        }
    }
}

/// All replies up to one, which is among them.
pub async fn until(replies: &mut Streaming<ReadResp>, last: Said) -> Vec<Said> {
    let mut said = vec![];
    while said.last() != Some(&last) {
        said.push(next(replies).await.unwrap().unwrap());
    }
    said
}

/// Appends numbered events to a stream as somebody else would.
pub fn plant(double: &Double, stream: &str, numbers: std::ops::Range<usize>) -> Vec<u64> {
    numbers.map(|number| double.append_foreign(stream, "numbered", number.to_string(), "").position).collect()
}
