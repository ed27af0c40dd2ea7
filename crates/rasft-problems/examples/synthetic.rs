//! Prints problems of the synthetic world: `cargo run -p rasft-problems --example synthetic -- [LEVEL [ROWS]]`.

use rasft_problems::synthetic::World;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let level: u8 = args.next().map_or(Ok(1), |a| a.parse())?;
    let rows: u64 = args.next().map_or(Ok(3), |a| a.parse())?;
    for problem in (World { levels: level..=level, ..World::new(42) }).problems(0..rows)? {
        println!("{} {}\n{}\n", problem.meta, problem.prompt, problem.expert_response.unwrap_or_default());
    }
    Ok(())
}
