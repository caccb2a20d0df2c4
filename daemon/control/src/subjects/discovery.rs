//! What upstreams say about themselves: documents of OpenAPI and WSDL, schemas of GraphQL; and endpoints made of them.

pub(crate) mod documents;
pub(crate) mod graphql;
pub(crate) mod importing;
pub(crate) mod openapi;
pub(crate) mod wsdl;
