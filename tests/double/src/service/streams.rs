//! The service of streams: what is asked, and who answers it. Knows: the methods. Must not know: the answers.

use tonic::{Request, Response, Status, Streaming, async_trait};

use super::Seat;
use super::batch::Answers;
use super::replies::Replies;
use crate::protocol::streams::streams_server::Streams;
use crate::protocol::streams::{
    AppendReq, AppendResp, BatchAppendReq, DeleteReq, DeleteResp, ReadReq, TombstoneReq, TombstoneResp,
};

#[async_trait]
impl Streams for Seat {
    type ReadStream = Replies;
    type BatchAppendStream = Answers;

    async fn read(&self, request: Request<ReadReq>) -> Result<Response<Replies>, Status> {
        self.answer_read(request).await.map(Response::new)
    }

    async fn append(&self, request: Request<Streaming<AppendReq>>) -> Result<Response<AppendResp>, Status> {
        self.answer_append(request).await.map(Response::new)
    }

    async fn delete(&self, _: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        Err(Status::unimplemented("this double deletes nothing"))
    }

    async fn tombstone(&self, _: Request<TombstoneReq>) -> Result<Response<TombstoneResp>, Status> {
        Err(Status::unimplemented("this double deletes nothing"))
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Answers>, Status> {
        self.answer_batch_append(request).await.map(Response::new)
    }
}
