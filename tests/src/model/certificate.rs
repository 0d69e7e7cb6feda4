//! Certificates of the model server: an authority of its own, an intermediate and a leaf. The leaf names enough hosts
//! for a chain as long as those of public servers, because the length of the server's flight matters to timing.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::lab::address::SERVER_NAME;

/// Extra names in the leaf: brings the server's flight to two segments.
const FILLER_NAMES: usize = 40;

/// A freshly made chain.
pub(crate) struct Chain {
    /// What clients trust.
    pub(crate) authority_pem: String,
    /// Leaf and intermediate, for servers that read files.
    pub(crate) certificates_pem: String,
    /// The leaf's key, for servers that read files.
    pub(crate) key_pem: String,
    certificates: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Chain {
    /// TLS 1.2 and 1.3, h2 and HTTP/1.1.
    pub(crate) fn server_config(&self) -> Result<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .context("set up TLS")?
            .with_no_client_auth()
            .with_single_cert(self.certificates.clone(), self.key.clone_key())
            .context("use the fresh certificate")?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// Issues authority, intermediate and leaf for the lab's name and the given addresses.
pub(crate) fn issue(addresses: &[IpAddr]) -> Result<Chain> {
    let (root, root_pem) = {
        let params = authority("Lab Root");
        let key = KeyPair::generate().context("make a key")?;
        let certificate = params.self_signed(&key).context("sign the root")?;
        (Issuer::new(params, key), certificate.pem())
    };
    let params = authority("Lab Intermediate");
    let key = KeyPair::generate().context("make a key")?;
    let middle = params.signed_by(&key, &root).context("sign the intermediate")?;
    let intermediate = Issuer::new(params, key);

    let mut names = vec![SERVER_NAME.to_owned(), "localhost".to_owned()];
    names.extend(addresses.iter().map(ToString::to_string));
    names.extend((0..FILLER_NAMES).map(|n| format!("replica-{n:03}.inference.{SERVER_NAME}")));
    let mut params = CertificateParams::new(names).context("name the server")?;
    params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().context("make a key")?;
    let leaf = params.signed_by(&key, &intermediate).context("sign the leaf")?;
    Ok(Chain {
        authority_pem: root_pem,
        certificates_pem: leaf.pem() + &middle.pem(),
        key_pem: key.serialize_pem(),
        certificates: vec![leaf.der().clone(), middle.der().clone()],
        key: PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    })
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
