package testsuite

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/iotdataplane"
)

// TestAFanIsConfiguredByItsShadow: with the system as a user starts it, and the endpoint that the AWS CLI is
// given, a fan takes up what its shadow desires, refuses nonsense with the reason, and has it all again
// after kill -9 of the whole system.
func TestAFanIsConfiguredByItsShadow(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil, "--fans", "1", "--no-faults")
	fan := ""
	for _, f := range ask[[]struct {
		Device struct{ Fan string }
	}](s, "fans") {
		fan = f.Device.Fan
	}
	update := func(payload string) {
		t.Helper()
		if _, err := s.shadows().UpdateThingShadow(t.Context(), &iotdataplane.UpdateThingShadowInput{ThingName: &fan,
			ShadowName: aws.String("fanwatch"), Payload: []byte(payload)}); err != nil {
			t.Fatal(err)
		}
	}
	reports := func(what string, ok func(reported map[string]any) bool) {
		t.Helper()
		s.until(time.Minute, what, func() (bool, string) {
			out, err := s.shadows().GetThingShadow(t.Context(), &iotdataplane.GetThingShadowInput{ThingName: &fan,
				ShadowName: aws.String("fanwatch")})
			if err != nil {
				return false, err.Error()
			}
			var doc struct {
				State struct{ Reported map[string]any }
			}
			if err := json.Unmarshal(out.Payload, &doc); err != nil {
				t.Fatal(err)
			}
			return ok(doc.State.Reported), string(out.Payload)
		})
	}
	update(`{"state":{"desired":{"live":true,"batch":3}}}`)
	reports("live mode", func(r map[string]any) bool { return r["live"] == true && r["batch"] == 3.0 })
	update(`{"state":{"desired":{"batch":0}}}`)
	reports("the refusal", func(r map[string]any) bool {
		return r["error"] == "batch of 0 is outside 1..500" &&
			r["batch"] == 3.0
	})
	s.kill()
	s = start(t, dir, nil, "--fans", "1", "--no-faults")
	update(`{"state":{"desired":{"batch":4}}}`)
	reports("what was mended", func(r map[string]any) bool {
		return r["batch"] == 4.0 && r["live"] == true &&
			r["error"] == nil
	})
}

// shadows is a client of the IoT data plane at the system's one AWS endpoint.
func (s *system) shadows() *iotdataplane.Client {
	return iotdataplane.New(iotdataplane.Options{Region: s.Region, BaseEndpoint: &s.AWS,
		Credentials: credentials.NewStaticCredentialsProvider("local", "local", "")})
}
