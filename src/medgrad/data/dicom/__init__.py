"""Read and write DICOM: headers, frames, pixels, segmentations and contours."""
