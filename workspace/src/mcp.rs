//! The protocol's side of the tools, on rmcp: what the server is, its list, a call. Written out, not made by rmcp's
//! macros, since those mark the list as public and word errors otherwise than clients expect (spec/octoprox.md 8.2).

use crate::tools::{self, Bench};
use rmcp::handler::server::ServerHandler;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData,
    Implementation, ListToolsResult, PaginatedRequestParams, ProtocolVersion, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;

/// Calls at work at once; more of them wait.
const CALLS: usize = 16;

/// The handler of a session; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Handler {
    bench: Arc<Bench>,
    room: Arc<Semaphore>,
}

impl Handler {
    pub(crate) fn new(bench: Bench) -> Self {
        Self { bench: Arc::new(bench), room: Arc::new(Semaphore::new(CALLS)) }
    }

    async fn call(
        &self,
        name: &str,
        request: CallToolRequestParams,
        context: &RequestContext<RoleServer>,
    ) -> CallToolResult {
        let Some(tool) = tools::named(name) else { return failed(format!("Unknown tool: {name}")) };
        let begun = Instant::now();
        let work = async {
            // It closes with the handler, which is still here.
            let _room = self.room.acquire().await.map_err(|_| "the server ends".to_owned())?;
            (tool.run)(Arc::clone(&self.bench), request.arguments.unwrap_or_default()).await
        };
        let outcome = tokio::select! {
            outcome = work => outcome,
            () = context.ct.cancelled() => Err("cancelled".to_owned()),
        };
        // Arguments and results are the workspace's own; the log has neither.
        tracing::info!(
            tool = tool.name,
            millis = begun.elapsed().as_millis() as u64,
            ok = outcome.is_ok(),
            "call"
        );
        outcome.unwrap_or_else(|why| failed(format!("Error executing tool {name}: {why}")))
    }
}

fn failed(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("gatehouse-workspace", env!("CARGO_PKG_VERSION")))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let all: Result<Vec<Tool>, String> = tools::LIST.iter().map(tools::Entry::described).collect();
        let all = all.map_err(|why| ErrorData::internal_error(why, None))?;
        let result = ListToolsResult::with_all_items(all);
        let hints =
            context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28);
        Ok(if hints { result.with_ttl_ms(0).with_cache_scope(CacheScope::Private) } else { result })
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.to_string();
        Ok(self.call(&name, request, &context).await.into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::named(name).and_then(|entry| entry.described().ok())
    }
}
