//! The targets without a fuzzer.
//!
//! ```text
//! handclasp-fuzz seeds FOLDER            writes the seeds of all targets to FOLDER/<target>/
//! handclasp-fuzz TARGET try SECONDS [N]  tries changed seeds and corpus entries, from the random seed N
//! handclasp-fuzz TARGET FILE…            runs these inputs
//! ```

use std::error::Error;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use handclasp_fuzz::{ALL, Target};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["seeds", folder] => write_seeds(Path::new(folder)),
        [name, "try", seconds] => try_for(target(name)?, seconds.parse()?, 0),
        [name, "try", seconds, seed] => try_for(target(name)?, seconds.parse()?, seed.parse()?),
        [name, files @ ..] if !files.is_empty() => {
            let target = target(name)?;
            for file in files {
                println!("{file}");
                target.try_one(&fs::read(file)?);
            }
            Ok(())
        }
        _ => {
            let names = ALL.map(|target| target.name).join(" ");
            Err(format!("seeds FOLDER, or TARGET try SECONDS [N], or TARGET FILE…; targets: {names}").into())
        }
    }
}

fn target(name: &str) -> Result<Target, String> {
    ALL.into_iter().find(|target| target.name == name).ok_or_else(|| format!("no target is called {name}"))
}

fn write_seeds(folder: &Path) -> Result<(), Box<dyn Error>> {
    for target in ALL {
        let folder = folder.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in target.seeds().into_iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:02}")), seed)?;
        }
    }
    Ok(())
}

fn try_for(target: Target, seconds: u64, seed: u64) -> Result<(), Box<dyn Error>> {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus");
    let (start, time) = (Instant::now(), Duration::from_secs(seconds));
    let inputs = target.mutations(target.corpus(&corpora)?, seed);
    let count = inputs.take_while(|_| start.elapsed() < time).map(|input| target.try_one(&input)).count();
    println!("{}: {count} inputs in {:.1} s", target.name, start.elapsed().as_secs_f64());
    Ok(())
}
