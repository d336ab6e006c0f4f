package edge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"fanwatch"
	"fanwatch/internal/durable"
)

// NewKey returns the device's private key (ECDSA P-256) at path and makes it, readable by its owner alone,
// when it is missing. The key never leaves the device: what is sent is a CSR.
func NewKey(path string) (*ecdsa.PrivateKey, error) {
	if key, err := loadKey(path); !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".key-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	defer os.Remove(f.Name())
	err = pem.Encode(f, &pem.Block{Type: "PRIVATE KEY", Bytes: der})
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), path) // unlike a rename it does not replace what another process made meanwhile
	}
	if errors.Is(err, fs.ErrExist) {
		return loadKey(path)
	}
	if err == nil {
		err = durable.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	return key, nil
}

// CSR returns a certificate signing request (PEM) for the thing: its name is the fan's and becomes the
// certificate's common name.
func CSR(key *ecdsa.PrivateKey, thing string) ([]byte, error) {
	if err := fanwatch.CheckFan(thing); err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:            pkix.Name{CommonName: thing},
		SignatureAlgorithm: x509.ECDSAWithSHA256,
	}, key)
	if err != nil {
		return nil, fmt.Errorf("csr: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}), nil
}

// TLSConfig reads the files (PEM) with which the device and the broker prove to one another who they
// are. It cannot be later than now when a certificate is verified, but now may be 1970 on a Pi without
// a clock: then the time of verification is the latest of now, BuildTime() and the start of the device's
// own certificate.
func TLSConfig(caFile, certFile, keyFile string, now fanwatch.Clock) (*tls.Config, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("root CA: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("root CA %s: holds no certificate: get AmazonRootCA1.pem from "+
			"https://www.amazontrust.com/repository/", caFile)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w: enroll again if they do not belong together", certFile,
			keyFile, err)
	}
	if pair.Leaf == nil {
		if pair.Leaf, err = x509.ParseCertificate(pair.Certificate[0]); err != nil {
			return nil, fmt.Errorf("certificate %s: %w", certFile, err)
		}
	}
	earliest := BuildTime()
	if pair.Leaf.NotBefore.After(earliest) {
		earliest = pair.Leaf.NotBefore
	}
	if now == nil {
		now = time.Now
	}
	return &tls.Config{
		MinVersion:   tls.VersionTLS12,
		RootCAs:      roots,
		Certificates: []tls.Certificate{pair},
		Time: func() time.Time {
			if t := now(); t.After(earliest) {
				return t
			}
			return earliest
		},
	}, nil
}

func loadKey(path string) (*ecdsa.PrivateKey, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return nil, fmt.Errorf("key %s: is not PEM: move it away to have a new one made", path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", path, err)
	}
	key, ok := parsed.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("key %s: is a %T, want ECDSA", path, parsed)
	}
	return key, nil
}
