//! What [`super::tls`] is in a program that was built without TLS: nobody is trusted, so nothing is said.

use super::error::TransportError;
use super::settings::TlsSettings;
use std::io::{self, Read, Write};
use std::marker::PhantomData;

/// There are none.
#[derive(Debug, Clone)]
pub(super) enum Authorities {}

impl Authorities {
    /// Says that https cannot be spoken.
    pub(super) fn load(_settings: &TlsSettings) -> Result<Authorities, TransportError> {
        let reason = "this program was built without TLS (feature `tls`) and cannot speak https; give an http URL";
        Err(TransportError::Certificates { place: "nowhere".to_owned(), reason: reason.to_owned() })
    }

    /// Never called.
    pub(super) fn session(&self, _server: &str) -> Result<Session, String> {
        match *self {}
    }
}

/// There is none.
#[derive(Debug)]
pub(super) enum Session {}

/// There is none.
#[derive(Debug)]
pub(super) struct TlsStream<S> {
    never: Session,
    socket: PhantomData<S>,
}

impl<S: Read + Write> TlsStream<S> {
    /// Never called.
    pub(super) fn open(session: Session, _socket: S) -> io::Result<TlsStream<S>> {
        match session {}
    }

    /// Never called.
    pub(super) fn socket(&mut self) -> &mut S {
        match self.never {}
    }
}

impl<S> Read for TlsStream<S> {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.never {}
    }
}

impl<S> Write for TlsStream<S> {
    fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
        match self.never {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.never {}
    }
}
