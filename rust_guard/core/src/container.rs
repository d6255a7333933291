//! What an MP4 must be before it is sealed, judged from what a parser read out of it.

/// What the job's spec promises about its video.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// Frames in the track.
    pub frames: u32,
    /// Frames a second.
    pub fps: u32,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
}

/// What the container says it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contents {
    /// Video tracks.
    pub video_tracks: usize,
    /// Tracks of any other kind.
    pub other_tracks: usize,
    /// Whether the video track is H.264 as browsers play it (one `avc1` sample entry).
    pub avc1: bool,
    /// Pixels, of the sample entry.
    pub width: u32,
    /// Pixels, of the sample entry.
    pub height: u32,
    /// Samples (frames) in the sample table.
    pub samples: u64,
    /// Samples that have a duration.
    pub timed_samples: u64,
    /// Sum of the samples' durations, in units of `timescale`.
    pub duration: u64,
    /// Units a second.
    pub timescale: u32,
    /// Whether every sample has bytes, and they lie inside the media data of this file.
    pub samples_present: bool,
}

/// What is wrong with a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Flaw {
    /// The file could not be read.
    #[error("the file cannot be read")]
    Unreadable,
    /// Larger than an artifact may be.
    #[error("the file is larger than an artifact may be")]
    TooLarge,
    /// Not an MP4 at all.
    #[error("not an MP4 file")]
    NotMp4,
    /// A box ends beyond the file, or the samples do.
    #[error("the file is cut short")]
    Truncated,
    /// No `moov` box, or more than one.
    #[error("the file does not have exactly one moov box")]
    NoMoov,
    /// The boxes inside `moov` make no sense.
    #[error("the moov box cannot be parsed")]
    BadMoov,
    /// Not exactly one track, a video.
    #[error("the file does not have exactly one track, a video")]
    Tracks,
    /// Not H.264 in `avc1`.
    #[error("the video is not H.264 (avc1)")]
    Codec,
    /// Another width or height.
    #[error("the video has another size")]
    Dimensions,
    /// Another number of frames.
    #[error("the video has another number of frames")]
    FrameCount,
    /// The duration is off by more than a frame.
    #[error("the video has another duration")]
    Duration,
}

impl Flaw {
    /// Stable name, for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::NotMp4 => "not_mp4",
            Self::Truncated => "truncated",
            Self::NoMoov => "no_moov",
            Self::BadMoov => "bad_moov",
            Self::Tracks => "tracks",
            Self::Codec => "codec",
            Self::Dimensions => "dimensions",
            Self::FrameCount => "frame_count",
            Self::Duration => "duration",
        }
    }
}

/// Holds `contents` against `expected`.
///
/// # Errors
/// The first [`Flaw`] found.
pub fn check(contents: &Contents, expected: &Expected) -> Result<(), Flaw> {
    if contents.video_tracks != 1 || contents.other_tracks != 0 {
        return Err(Flaw::Tracks);
    }
    if !contents.avc1 {
        return Err(Flaw::Codec);
    }
    if (contents.width, contents.height) != (expected.width, expected.height) {
        return Err(Flaw::Dimensions);
    }
    if contents.samples != u64::from(expected.frames) || contents.samples == 0 {
        return Err(Flaw::FrameCount);
    }
    if !contents.samples_present {
        return Err(Flaw::Truncated);
    }
    if contents.timed_samples != contents.samples || !duration_fits(contents, expected) {
        return Err(Flaw::Duration);
    }
    Ok(())
}

/// Whether `|duration / timescale - frames / fps| <= 1 / fps`, in whole numbers.
fn duration_fits(contents: &Contents, expected: &Expected) -> bool {
    let scale = u128::from(contents.timescale);
    let got = u128::from(contents.duration) * u128::from(expected.fps);
    let wanted = u128::from(expected.frames) * scale;
    scale > 0 && expected.fps > 0 && got.abs_diff(wanted) <= scale
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected = Expected {
        frames: 7,
        fps: 30,
        width: 64,
        height: 48,
    };
    const GOOD: Contents = Contents {
        video_tracks: 1,
        other_tracks: 0,
        avc1: true,
        width: 64,
        height: 48,
        samples: 7,
        timed_samples: 7,
        duration: 7 * 512,
        timescale: 15_360,
        samples_present: true,
    };

    #[test]
    fn a_good_container_passes() {
        assert_eq!(check(&GOOD, &EXPECTED), Ok(()));
    }

    #[test]
    fn a_frame_more_or_less_of_duration_is_tolerated_and_no_more() {
        for (duration, fits) in [
            (6 * 512, true),
            (8 * 512, true),
            (6 * 512 - 1, false),
            (8 * 512 + 1, false),
        ] {
            let contents = Contents { duration, ..GOOD };
            assert_eq!(check(&contents, &EXPECTED).is_ok(), fits, "{duration}");
        }
    }

    #[test]
    fn every_flaw_is_found() {
        let cases = [
            (
                Contents {
                    video_tracks: 0,
                    ..GOOD
                },
                Flaw::Tracks,
            ),
            (
                Contents {
                    video_tracks: 2,
                    ..GOOD
                },
                Flaw::Tracks,
            ),
            (
                Contents {
                    other_tracks: 1,
                    ..GOOD
                },
                Flaw::Tracks,
            ),
            (
                Contents {
                    avc1: false,
                    ..GOOD
                },
                Flaw::Codec,
            ),
            (
                Contents {
                    width: 48,
                    height: 64,
                    ..GOOD
                },
                Flaw::Dimensions,
            ),
            (
                Contents {
                    samples: 8,
                    timed_samples: 8,
                    ..GOOD
                },
                Flaw::FrameCount,
            ),
            (
                Contents {
                    samples_present: false,
                    ..GOOD
                },
                Flaw::Truncated,
            ),
            (
                Contents {
                    timed_samples: 6,
                    ..GOOD
                },
                Flaw::Duration,
            ),
            (
                Contents {
                    timescale: 0,
                    ..GOOD
                },
                Flaw::Duration,
            ),
            (
                Contents {
                    duration: u64::MAX,
                    ..GOOD
                },
                Flaw::Duration,
            ),
        ];
        for (contents, flaw) in cases {
            assert_eq!(check(&contents, &EXPECTED), Err(flaw));
        }
    }

    #[test]
    fn no_frames_is_never_a_video() {
        let contents = Contents {
            samples: 0,
            timed_samples: 0,
            duration: 0,
            ..GOOD
        };
        assert_eq!(
            check(
                &contents,
                &Expected {
                    frames: 0,
                    ..EXPECTED
                }
            ),
            Err(Flaw::FrameCount)
        );
    }
}
