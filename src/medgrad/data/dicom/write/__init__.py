"""Write answers as DICOM objects."""
