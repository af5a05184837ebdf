"""DICOM files: their headers, frames and pixels, and what they say of a patient."""
