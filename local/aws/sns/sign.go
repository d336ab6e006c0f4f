package sns

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"fanwatch/internal/durable"
)

// certificatePath is where receivers fetch the signing certificate.
const certificatePath = "/SimpleNotificationService-local.pem"

// signer makes the signatures of SignatureVersion 2 (RSA, SHA-256):
// https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
// Its key and self-signed certificate are made when first needed (about 0.1 s)
// and kept in one file, mode 0600.
type signer struct {
	path string
	now  func() time.Time

	mu          sync.Mutex
	key         *rsa.PrivateKey
	certificate []byte // PEM
}

// sign signs the names and values given, in their order, a line each.
func (s *signer) sign(lines []string) (string, error) {
	if err := s.open(); err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n") + "\n"))
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, crypto.SHA256, sum[:])
	if err != nil {
		return "", fmt.Errorf("sns: sign: %w", err)
	}
	return base64.StdEncoding.EncodeToString(signature), nil
}

func (s *signer) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.key != nil {
		return nil
	}
	data, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		if data, err = newSigningFile(s.now()); err == nil {
			err = durable.WriteFile(s.path, data, 0o600)
		}
	}
	if err != nil {
		return fmt.Errorf("sns: signing key: %w", err)
	}
	private, rest := pem.Decode(data)
	certificate, _ := pem.Decode(rest)
	if private == nil || certificate == nil {
		return fmt.Errorf("sns: signing key: %s is damaged: remove it, a new one will be made", s.path)
	}
	key, err := x509.ParsePKCS8PrivateKey(private.Bytes)
	rsaKey, ok := key.(*rsa.PrivateKey)
	if err != nil || !ok {
		return fmt.Errorf("sns: signing key: %s holds no RSA key: remove it, a new one will be made", s.path)
	}
	s.key, s.certificate = rsaKey, pem.EncodeToMemory(certificate)
	return nil
}

func newSigningFile(now time.Time) ([]byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "fanwatch local SNS"},
		NotBefore: now.Add(-24 * time.Hour), NotAfter: now.AddDate(10, 0, 0), KeyUsage: x509.KeyUsageDigitalSignature,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})...), nil
}

func (s *Server) serveCertificate(w http.ResponseWriter, _ *http.Request) {
	if err := s.signer.open(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/x-pem-file")
	w.Write(s.signer.certificate)
}
