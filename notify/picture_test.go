package notify

import (
	"bytes"
	"image/png"
	"math"
	"os"
	"testing"
	"time"

	"fanwatch"
)

func hourOfSamples(opened time.Time) []Sample {
	var all []Sample
	for i := range 1500 {
		s := Sample{At: opened.Add(time.Duration(i)*2*time.Second - 50*time.Minute), RPM: 2900 + 20*math.Sin(float64(i)/9),
			Expected: 2900, Low: 2850, High: 2950, Score: 1 + 0.1*math.Sin(float64(i)/30)}
		switch {
		case i > 600 && i < 800:
			continue // nothing came
		case i < 200:
			s.Expected, s.Low, s.High = 0, 0, 0
		case s.At.After(opened):
			s.RPM, s.Score = 0, 4
		}
		all = append(all, s)
	}
	return all
}

func TestAPictureOfTheLastHourIsDrawnInTheReadersZone(t *testing.T) {
	opened := time.Date(2026, 12, 1, 2, 14, 0, 0, time.UTC)
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	a := fanwatch.Alert{Fan: "fan-07", Kind: fanwatch.KindStall, Opened: opened}
	b, err := Draw(a, hourOfSamples(opened), opened.Add(-time.Hour), opened.Add(2*time.Minute), berlin)
	if err != nil {
		t.Fatal(err)
	}
	img, err := png.Decode(bytes.NewReader(b))
	if err != nil || img.Bounds().Dx() != 1000 || img.Bounds().Dy() != 500 || len(b) > 150_000 {
		t.Fatalf("%d bytes, %v, %v", len(b), img.Bounds(), err)
	}
	if to := os.Getenv("FANWATCH_PICTURE"); to != "" {
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	utc, err := Draw(a, hourOfSamples(opened), opened.Add(-time.Hour), opened.Add(2*time.Minute), time.UTC)
	if err != nil || bytes.Equal(b, utc) {
		t.Errorf("the picture is the same in another zone: %v", err)
	}
}
