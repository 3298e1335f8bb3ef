// Facts about an image file that are known before it is decoded.
#pragma once

#include <string>
#include <vector>

namespace ppdet {

using Bytes = std::vector<unsigned char>;

struct ImageHeader {
  double pixels = 0;
  int orientation = 0;  // EXIF orientation that OpenCV does not apply itself; 0: none
  bool is_jpeg = false;
  bool is_cut = false;  // a JPEG without an end marker behind its first scan
};

// Throws ImageError for a file in another format than JPEG, PNG, BMP, WebP and TIFF, a damaged
// header, and a JPEG of more scans than a decoder should see.
ImageHeader read_header(const Bytes& bytes, const std::string& name);

}  // namespace ppdet
