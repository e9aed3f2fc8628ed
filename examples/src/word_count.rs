//! Word count, the first program of every streaming engine: from a folder of text files, and from a socket.

use headwater::prelude::*;

/// Counts the words of the column `value`.
pub fn count_words(lines: DataFrame) -> Result<DataFrame> {
    lines
        .select_expr(["explode(split(lower(value), ' ')) AS word"])?
        .filter(col("word").not_eq(lit("")))?
        .group_by([col("word")])?
        .agg([count(lit(1)).alias("count")])
}

/// A session with Spark's functions (`explode`, `split`, …).
pub fn session() -> Result<Session> {
    Session::builder().spark_functions(true).build()
}

/// Counts the words in the text files of `folder`, in complete mode, into the table `words` of `session`.
pub async fn folder(session: &Session, folder: &str) -> Result<StreamingQuery> {
    let lines = session.read_stream().text(folder)?;
    count_words(lines)?
        .write_stream()
        .query_name("words")
        .output_mode(OutputMode::Complete)
        .format("memory")
        .trigger(Trigger::available_now())
        .start(None)
        .await
}

/// Counts the words that arrive at a socket, in complete mode, into the sink `format`.
pub async fn socket(session: &Session, port: u16, format: &str) -> Result<StreamingQuery> {
    let lines = session
        .read_stream()
        .format("socket")
        .option("host", "127.0.0.1")
        .option("port", port)
        .load(None)?;
    count_words(lines)?
        .write_stream()
        .query_name("words")
        .output_mode(OutputMode::Complete)
        .format(format)
        .start(None)
        .await
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    async fn words(session: &Session) -> Result<String> {
        let rows = session
            .sql("SELECT word, count FROM words ORDER BY word")
            .await?
            .collect()
            .await?;
        Ok(pretty_format_batches(&rows)
            .expect("rows can be shown")
            .to_string())
    }

    const EXPECTED: &str = "\
+------+-------+
| word | count |
+------+-------+
| be   | 2     |
| not  | 1     |
| or   | 1     |
| to   | 2     |
+------+-------+";

    #[tokio::test]
    async fn words_of_a_folder_are_counted() -> Result<()> {
        let files = tempfile::tempdir().expect("a folder");
        for (name, text) in [("a.txt", "To be or\n"), ("b.txt", "not\nto be\n")] {
            std::fs::write(files.path().join(name), text).expect("a file");
        }
        let session = session()?;
        let query = folder(&session, &files.path().display().to_string()).await?;
        query.await_termination().await?;
        assert_eq!(words(&session).await?, EXPECTED);
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn words_from_a_socket_are_counted() -> Result<()> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let session = session()?;
        let query = socket(&session, port, "memory").await?;
        let (mut peer, _) = listener.accept().await.expect("the query has connected");
        peer.write_all(b"To be or\nnot to be\n")
            .await
            .expect("the lines go out");
        peer.flush().await.expect("the lines go out");
        while words(&session).await? != EXPECTED {
            query.process_all_available().await?;
            tokio::task::yield_now().await;
        }
        query.stop().await?;
        Ok(())
    }
}
