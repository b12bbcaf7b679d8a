//! `completions` and `man`: made of the command line's own description.

use std::io::{self, Write};

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::{
    args::Cli,
    exit::{End, UNAVAILABLE, USAGE},
    say,
};

pub(crate) fn completions(shell: Shell) -> End {
    // Into memory: clap_complete panics where nobody reads on.
    let mut page = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "keyward", &mut page);
    print(&page)
}

pub(crate) fn man(of: Option<&str>) -> End {
    let mut whole = Cli::command().disable_help_subcommand(true);
    whole.build();
    let command = match of {
        None => Some(whole),
        // Built with its whole name, keyward-run, to which the list of commands refers.
        Some(name) => whole.find_subcommand(name).cloned(),
    };
    let Some(command) = command else {
        say::line(format_args!("there is no command {:?}", of.unwrap_or_default()));
        return End::Code(USAGE);
    };
    let mut page = Vec::new();
    let source = concat!("keyward ", env!("CARGO_PKG_VERSION"));
    match Man::new(command).source(source).render(&mut page) {
        Ok(()) => print(&page),
        Err(error) => {
            say::failed("the page could not be made", &error);
            End::Code(UNAVAILABLE)
        }
    }
}

fn print(page: &[u8]) -> End {
    match io::stdout().write_all(page).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say::failed("it could not be printed", &error);
            End::Code(UNAVAILABLE)
        }
        _ => End::Code(0),
    }
}
