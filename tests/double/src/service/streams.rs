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

    async fn delete(&self, request: Request<DeleteReq>) -> Result<Response<DeleteResp>, Status> {
        let (metadata, _, request) = request.into_parts();
        let position = self.answer_delete(&metadata, request.options, false).await?;
        Ok(Response::new(DeleteResp { position: Some(position) }))
    }

    async fn tombstone(&self, request: Request<TombstoneReq>) -> Result<Response<TombstoneResp>, Status> {
        let (metadata, _, request) = request.into_parts();
        let position = self.answer_delete(&metadata, request.options, true).await?;
        Ok(Response::new(TombstoneResp { position: Some(position) }))
    }

    async fn batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Response<Answers>, Status> {
        self.answer_batch_append(request).await.map(Response::new)
    }
}
