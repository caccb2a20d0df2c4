//! The session without a screen: the verbs at a prompt, one fact a line, nothing moves.

use crate::cli::{self, Request};
use crate::client::Client;
use crate::output::Output;
use crate::{exit, verbs};
use tokio::io::{AsyncBufReadExt as _, BufReader};

/// Reads verbs from standard input until it ends or `quit`.
pub async fn session(client: &Client, ssh_connection: Option<&str>, output: &mut Output<'_>) -> u8 {
    let status = Request { verb: "status", ..Request::default() };
    verbs::perform(client, &status, ssh_connection, output).await;
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    loop {
        if output.prompt("gatehouse (help, quit)> ").is_err() {
            return exit::DONE;
        }
        let Ok(Some(line)) = input.next_line().await else { return exit::DONE };
        match line.trim() {
            "" => {}
            "quit" | "exit" | "q" => return exit::DONE,
            "help" | "?" => {
                if output.line(&cli::help()).is_err() {
                    return exit::DONE;
                }
            }
            text => one(client, text, ssh_connection, output).await,
        }
    }
}

async fn one(client: &Client, text: &str, ssh_connection: Option<&str>, output: &mut Output<'_>) {
    let parsed = shlex::split(text)
        .ok_or_else(|| cli::Usage("quotes do not match".to_owned()))
        .and_then(|words| cli::parse(&words));
    match parsed {
        // Whoever came by SSH's forced command may be at this prompt, and files of the box are not theirs to read.
        Ok(cli::Invocation { verb: Some(request), .. }) if request.verb == "import" => {
            output.complain("import: not at this prompt; run gatehouse import on the box");
        }
        Ok(cli::Invocation { verb: Some(request), .. }) => {
            let code = verbs::perform(client, &request, ssh_connection, output).await;
            if code != exit::DONE {
                output.complain(&format!("exit code {code}"));
            }
        }
        Ok(_) => output.complain("expected a verb; help lists them"),
        Err(error) => output.complain(&error.to_string()),
    }
}
