//! Publishes a directory as a signed repository on disk and prints the parameters that mount it, each as two arguments
//! (`-o`, `KEY=VALUE`), one a line: `publish FQRN DIRECTORY WEB [NESTED]...`.

use cvmfs_tests::forge::Forge;
use libcvmfs::object::Compression;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [fqrn, tree, web, nested @ ..] = &arguments[..] else {
        eprintln!("usage: publish FQRN DIRECTORY WEB [NESTED]...");
        std::process::exit(2);
    };
    let forge = Forge::new(fqrn).compression(Compression::None).tree("", tree);
    std::fs::create_dir_all(web).expect("the directory for the repository");
    let web = std::path::absolute(web).expect("its absolute path");
    let published = nested.iter().fold(forge, Forge::nested).publish(web);
    for (name, value) in published.repository().options() {
        println!("-o\n{name}={value}");
    }
}
