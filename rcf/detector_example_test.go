package rcf_test

import (
	"fmt"
	"log"

	"fanwatch/rcf"
)

// A fan that runs at about 1800 RPM, stalls for a minute, and later runs away. Each is one alert, at its beginning.
func ExampleDetector() {
	detector, err := rcf.NewDetector(rcf.DetectorConfig{Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 2000 {
		rpm := 1800 + float64(i*37%20) // a little jitter
		switch {
		case i >= 1000 && i < 1060:
			rpm = 0
		case i >= 1800 && i < 1860:
			rpm = 2500
		}
		result, err := detector.Process([]float64{rpm})
		if err != nil {
			log.Fatal(err)
		}
		if result.Alert {
			fmt.Printf("point %d: grade %.2f, confidence %.2f\n", i, result.Grade, result.Confidence)
		}
	}
	// Output:
	// point 1000: grade 0.74, confidence 0.49
	// point 1800: grade 0.56, confidence 0.70
}

// The first 500 points are normal, and that a fan stands still never is: State holds until it turns again.
func ExampleDetectorConfig_learn() {
	detector, err := rcf.NewDetector(rcf.DetectorConfig{Learn: 500, Seed: 1})
	if err != nil {
		log.Fatal(err)
	}
	state := false
	for i := range 5000 {
		rpm := 1800 + float64(i*37%20)
		if i >= 1000 && i < 4000 {
			rpm = 0
		}
		result, err := detector.Process([]float64{rpm})
		if err != nil {
			log.Fatal(err)
		}
		if result.State != state {
			state = result.State
			fmt.Printf("point %d: trouble %v\n", i, state)
		}
	}
	// Output:
	// point 1000: trouble true
	// point 4058: trouble false
}

// A number of errors that is nearly always the same. Only its owner knows that one more or less means nothing.
func ExampleDetectorConfig_tolerance() {
	for _, tolerance := range [][]float64{nil, {1.5}} {
		detector, err := rcf.NewDetector(rcf.DetectorConfig{Tolerance: tolerance, Seed: 1})
		if err != nil {
			log.Fatal(err)
		}
		for i := range 1000 {
			errors := 2.0
			if i == 900 {
				errors = 3
			}
			result, err := detector.Process([]float64{errors})
			if err != nil {
				log.Fatal(err)
			}
			if result.Alert {
				fmt.Printf("tolerance %v: alert at point %d\n", tolerance, i)
			}
		}
	}
	// Output:
	// tolerance []: alert at point 900
}

// RANDOM_CUT_FOREST(CURSOR(SELECT STREAM rpm FROM fans), 100, 256, 100000, 1)
func ExampleKDA() {
	function, err := rcf.NewKDA(rcf.KDAConfig{NumberOfTrees: 100, SubSampleSize: 256, TimeDecay: 100_000, ShingleSize: 1})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 1001 {
		rpm := 1800 + float64(i*37%20)
		if i == 1000 {
			rpm = 0
		}
		score, err := function.Process([]float64{rpm})
		if err != nil {
			log.Fatal(err)
		}
		if i == 255 || i == 256 || i == 1000 {
			fmt.Printf("row %d: ANOMALY_SCORE %.1f\n", i, score)
		}
	}
	// Output:
	// row 255: ANOMALY_SCORE 0.0
	// row 256: ANOMALY_SCORE 0.9
	// row 1000: ANOMALY_SCORE 8.0
}

// RANDOM_CUT_FOREST_WITH_EXPLANATION(CURSOR(SELECT STREAM rpm, temperature FROM fans), 100, 256, 100000, 1, true)
func ExampleKDA_Explain() {
	function, err := rcf.NewKDA(rcf.KDAConfig{Dimensions: 2})
	if err != nil {
		log.Fatal(err)
	}
	for i := range 1000 {
		if _, err := function.Process([]float64{1800 + float64(i*37%20), 40 + float64(i*11%7)}); err != nil {
			log.Fatal(err)
		}
	}
	_, columns, err := function.Explain([]float64{1810, 5})
	if err != nil {
		log.Fatal(err)
	}
	for i, name := range []string{"rpm", "temperature"} {
		direction := "LOW"
		if columns[i].High {
			direction = "HIGH"
		}
		fmt.Printf("%s: attribution %.1f, direction %s, strength %.1f\n", name, columns[i].Attribution, direction,
			columns[i].Strength)
	}
	// Output:
	// rpm: attribution 0.0, direction HIGH, strength 0.0
	// temperature: attribution 6.1, direction LOW, strength 6.1
}
