package workers

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"

	"fanwatch/activities"
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
	cfg, err := cloud.Config(t.Context(), cloud.Settings{Region: "eu-central-1", Local: true, AccessKey: "a",
		SecretKey: "b", Endpoints: []string{iot.URL}})
	if err != nil {
		t.Fatal(err)
	}
	cfg.RetryMaxAttempts = 1
	r := registry{cloud.NewIoT(cfg, iot.URL)}
	var app *temporal.ApplicationError
	_, err = r.CertificateFromCSR(t.Context(), "x")
	if !errors.As(err, &app) || !app.NonRetryable() || app.Message() != "AWS IoT Core refuses the certificate "+
		"signing request: RSA key of 1024 bits" {
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

// TestKinesisThatRefusesIsAnErrorAndOneThatIsAwayIsTrouble: what does not pass ends the read with the reason and the
// mend in one line; an outage is told by a batch within seconds, so that the scorer goes on telling and landing.
func TestKinesisThatRefusesIsAnErrorAndOneThatIsAwayIsTrouble(t *testing.T) {
	code := "AccessDeniedException"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Amzn-ErrorType", code)
		w.WriteHeader(400)
		_, _ = w.Write([]byte(`{"message":"no"}`))
	}))
	cfg, err := cloud.Config(t.Context(), cloud.Settings{Region: "eu-central-1", Local: true, AccessKey: "a",
		SecretKey: "b", Endpoints: []string{server.URL}})
	if err != nil {
		t.Fatal(err)
	}
	k, err := cloud.NewKinesis(cfg, server.URL)
	if err != nil {
		t.Fatal(err)
	}
	s := stream{kinesis: k, poll: time.Second}
	if at, err := s.Created(t.Context(), "fans"); err != nil || !at.IsZero() {
		t.Errorf("a role that may not ask when the stream was made: %v, %v", at, err)
	}
	for _, c := range []struct{ code, want string }{
		{"AccessDeniedException", "allow the worker's role"}, {"ResourceNotFoundException", "make the stream"},
		{"KMSDisabledException", "the stream's key"},
	} {
		code = c.code
		_, err := s.Open("fans", "shardId-000000000000", "0").Next(t.Context())
		if err == nil || !strings.Contains(err.Error(), c.code) || !strings.Contains(err.Error(), c.want) ||
			strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", c.code, err)
		}
	}
	code = "InvalidArgumentException"
	if _, err := s.Open("fans", "shardId-000000000000", "5").Next(t.Context()); !errors.Is(err,
		activities.ErrOtherStream) {
		t.Errorf("a number of another stream: %v", err)
	}
	server.Close()
	r := s.Open("fans", "shardId-000000000000", "0").(shardReader)
	r.patience = 300 * time.Millisecond
	b, err := r.Next(t.Context())
	if err != nil || b.Trouble == "" || len(b.Records) > 0 {
		t.Errorf("away: %+v, %v", b, err)
	}
}
