"""Request and response bodies: media types, decoders to rows and pictures, encoders."""
