//! Writes the input of the examples, `examples/data`.
//!
//!     cargo run -p headwater-examples --bin generate_data [DIR]

use std::{fs, io, path::Path};

use headwater_examples::generate;

fn main() -> io::Result<()> {
    let folder = std::env::args().nth(1).unwrap_or("examples/data".into());
    for file in generate::all() {
        let path = Path::new(&folder).join(file.name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, file.content)?;
    }
    Ok(())
}
