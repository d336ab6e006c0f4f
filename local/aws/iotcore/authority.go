package iotcore

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"fanwatch/internal/durable"
)

const (
	serverLifetime = 397 * 24 * time.Hour // the longest that clients commonly accept
	serverReissue  = 30 * 24 * time.Hour  // a server certificate with less left than this is replaced
)

// certificatesEnd is when device certificates (and the local root) expire, as on AWS.
func certificatesEnd() time.Time { return time.Date(2049, 12, 31, 23, 59, 59, 0, time.UTC) }

// authority is the local certificate authority (ECDSA P-256): it signs the server's certificate and those
// of devices. Its key never leaves authority.private.pem (mode 0600). Safe for concurrent use.
type authority struct {
	dir  string
	now  func() time.Time
	root *x509.Certificate
	key  *ecdsa.PrivateKey

	mu     sync.Mutex
	server *tls.Certificate
}

// openAuthority reads the authority kept in dir, or makes it on the first start. Key and certificate lie
// in one file so that no crash can part them.
func openAuthority(dir string, now func() time.Time) (*authority, error) {
	a := &authority{dir: dir, now: now}
	pair, err := readPair(filepath.Join(dir, "authority.private.pem"))
	if errors.Is(err, fs.ErrNotExist) {
		pair, err = a.create()
	}
	if err != nil {
		return nil, fmt.Errorf("iotcore: certificate authority: %w", err)
	}
	a.root, a.key = pair.Leaf, pair.PrivateKey.(*ecdsa.PrivateKey)
	if err := durable.WriteFile(a.rootFile(), encodeCertificate(a.root.Raw), 0o644); err != nil {
		return nil, fmt.Errorf("iotcore: certificate authority: %w", err)
	}
	if pair, err := readPair(a.serverFile()); err == nil {
		a.server = pair // judged, and replaced if need be, by serverCertificate
	}
	_, err = a.serverCertificate()
	return a, err
}

func (a *authority) rootFile() string   { return filepath.Join(a.dir, "ca.pem") }
func (a *authority) serverFile() string { return filepath.Join(a.dir, "server.private.pem") }

// pool holds the one root that device certificates must chain to.
func (a *authority) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.root)
	return p
}

// serverCertificate returns the broker's certificate for localhost, 127.0.0.1 and ::1, issuing a new one
// when there is none, when it is of another root, or when it ends within 30 days.
func (a *authority) serverCertificate() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server != nil && a.server.Leaf.CheckSignatureFrom(a.root) == nil &&
		a.now().Add(serverReissue).Before(a.server.Leaf.NotAfter) {
		return a.server, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("iotcore: server key: %w", err)
	}
	now := a.now()
	der, err := a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: "localhost"},
		DNSNames:    []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		NotBefore:   now.Add(-time.Hour),
		NotAfter:    now.Add(serverLifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, key.Public())
	if err != nil {
		return nil, fmt.Errorf("iotcore: server certificate: %w", err)
	}
	if err := writePair(a.serverFile(), der, key); err != nil {
		return nil, fmt.Errorf("iotcore: server certificate: %w", err)
	}
	pair, err := readPair(a.serverFile())
	if err != nil {
		return nil, fmt.Errorf("iotcore: server certificate: %w", err)
	}
	a.server = pair
	return pair, nil
}

// issued is a device certificate just signed. ID is the lower-case hex SHA-256 of its DER form, as AWS IoT
// names certificates.
type issued struct {
	ID                  string
	PEM                 string
	NotBefore, NotAfter time.Time
}

// issue signs a device certificate for the public key of a PEM certificate signing request. It refuses what
// AWS IoT refuses: a broken signature, RSA below 2048 bits, curves other than the NIST ones.
func (a *authority) issue(csrPEM string) (issued, error) {
	block, _ := pem.Decode([]byte(csrPEM))
	if block == nil || (block.Type != "CERTIFICATE REQUEST" && block.Type != "NEW CERTIFICATE REQUEST") {
		return issued{}, errors.New("not a PEM certificate signing request")
	}
	csr, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return issued{}, fmt.Errorf("certificate signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return issued{}, fmt.Errorf("certificate signing request: signature: %w", err)
	}
	if err := checkKey(csr.PublicKey); err != nil {
		return issued{}, err
	}
	subject := csr.Subject
	if len(subject.Names) == 0 {
		subject = pkix.Name{CommonName: "AWS IoT Certificate"}
	}
	from := a.now().Add(-time.Minute).UTC().Truncate(time.Second)
	der, err := a.sign(&x509.Certificate{
		Subject:     subject,
		NotBefore:   from,
		NotAfter:    certificatesEnd(),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, csr.PublicKey)
	if err != nil {
		return issued{}, fmt.Errorf("sign certificate: %w", err)
	}
	return issued{ID: certificateID(der), PEM: string(encodeCertificate(der)), NotBefore: from,
		NotAfter: certificatesEnd()}, nil
}

func checkKey(key any) error {
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return fmt.Errorf("RSA key of %d bits: at least 2048 are needed", k.N.BitLen())
		}
		return nil
	case *ecdsa.PublicKey:
		switch k.Curve {
		case elliptic.P256(), elliptic.P384(), elliptic.P521():
			return nil
		}
	}
	return fmt.Errorf("key type %T: use RSA of at least 2048 bits or a NIST curve", key)
}

func (a *authority) create() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	a.key = key
	a.root = &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"fanwatch"}, CommonName: "fanwatch local IoT root"},
		NotBefore:             a.now().Add(-time.Hour),
		NotAfter:              certificatesEnd(),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := a.sign(a.root, key.Public())
	if err != nil {
		return nil, err
	}
	path := filepath.Join(a.dir, "authority.private.pem")
	if err := writePair(path, der, key); err != nil {
		return nil, err
	}
	return readPair(path)
}

func (a *authority) sign(template *x509.Certificate, public any) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	return x509.CreateCertificate(rand.Reader, template, a.root, public, a.key)
}

func certificateID(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

func encodeCertificate(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// writePair keeps a certificate and its key in one file.
func writePair(path string, der []byte, key *ecdsa.PrivateKey) error {
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	b.Write(encodeCertificate(der))
	if err := pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: raw}); err != nil {
		return err
	}
	return durable.WriteFile(path, b.Bytes(), 0o600)
}

func readPair(path string) (*tls.Certificate, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(b, b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if _, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok {
		return nil, fmt.Errorf("%s: not an ECDSA key", path)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return &pair, nil
}
