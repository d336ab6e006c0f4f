package workers

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"go.temporal.io/sdk/temporal"

	"fanwatch/cloud"
)

// TestWhatIoTCoreRefusesIsNotTriedAgain guards against a fan that is blocked for two minutes by a bad request;
// an outage is tried again still.
func TestWhatIoTCoreRefusesIsNotTriedAgain(t *testing.T) {
	code, status := "InvalidRequestException", 400
	iot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-ErrorType", code)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(`{"message":"RSA key of 1024 bits"}`)) // the client's failure says enough
	}))
	defer iot.Close()
	cfg, err := cloud.Config(t.Context(), cloud.Settings{Region: "eu-central-1", Local: true, AccessKey: "a", SecretKey: "b", Endpoints: []string{iot.URL}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.RetryMaxAttempts = 1
	r := registry{cloud.NewIoT(cfg, iot.URL)}
	var app *temporal.ApplicationError
	_, err = r.CertificateFromCSR(t.Context(), "x")
	if !errors.As(err, &app) || !app.NonRetryable() || app.Message() != "AWS IoT Core refuses the certificate signing request: RSA key of 1024 bits" {
		t.Errorf("refused: %v", err)
	}
	if err = r.CreateThing(t.Context(), "x", nil); !errors.As(err, &app) || !app.NonRetryable() {
		t.Errorf("refused: %v", err)
	}
	code, status = "ServiceUnavailableException", 503
	if _, err = r.CertificateFromCSR(t.Context(), "x"); err == nil || errors.As(err, &app) {
		t.Errorf("out of service: %v", err)
	}
}
