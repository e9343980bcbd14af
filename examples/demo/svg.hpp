#pragma once
// The few SVG elements that the sheet needs. Coordinates are pixels from the top left corner.

#include <cstddef>
#include <cstdio>
#include <string>
#include <utility>
#include <vector>

namespace demo {

using point = std::pair<double, double>;

class svg {
 public:
  /// `anchor` is start, middle or end; `style` holds further attributes, here and below.
  void add_text(double x, double y, const std::string& content, int size,
                const char* anchor = "start", const std::string& style = "") {
    put("<text x=\"", number(x), "\" y=\"", number(y), "\" font-size=\"", std::to_string(size),
        "\" text-anchor=\"", anchor, "\" ", style, ">", escaped(content), "</text>\n");
  }

  void add_frame(double x, double y, double width, double height) {
    put("<rect x=\"", number(x), "\" y=\"", number(y), "\" width=\"", number(width), "\" height=\"",
        number(height), "\" fill=\"none\" stroke=\"#999\"/>\n");
  }

  void add_line(const std::vector<point>& points, const std::string& colour, double width,
                const std::string& style = "") {
    put("<path d=\"");
    for (std::size_t i = 0; i < points.size(); ++i) {
      put(i == 0 ? "M" : "L", number(points[i].first), " ", number(points[i].second));
    }
    put("\" fill=\"none\" stroke=\"", colour, "\" stroke-width=\"", number(width), "\" ", style,
        "/>\n");
  }

  /// Cells of `pixels` x `pixels`, all of one colour; a cell is (column, row).
  void add_cells(double x, double y, int pixels, const std::string& colour,
                 const std::vector<std::pair<int, int>>& cells) {
    if (cells.empty()) return;
    put("<path fill=\"", colour, "\" d=\"");
    for (std::size_t i = 0; i < cells.size();) {
      const auto [column, row] = cells[i];
      int run = 1;  // cells beside one another are one rectangle
      while (++i < cells.size() && cells[i] == std::pair(column + run, row)) ++run;
      const std::string width = std::to_string(run * pixels);
      put("M", number(x + column * pixels), " ", number(y + row * pixels), "h", width, "v",
          std::to_string(pixels), "h-", width, "z");
    }
    put("\"/>\n");
  }

  /// The document, `width` x `height`, on white.
  std::string finished(int width, int height) const {
    return "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 " + std::to_string(width) +
           " " + std::to_string(height) + "\" font-family=\"sans-serif\" fill=\"#333\">\n" +
           "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n" + text_ + "</svg>\n";
  }

 private:
  template <class... Parts>
  void put(const Parts&... parts) {
    ((text_ += parts), ...);
  }
  static std::string number(double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%.4g", value);
    return text;
  }
  static std::string escaped(const std::string& content) {
    std::string result;
    for (const char c : content) {
      if (c == '<') {
        result += "&lt;";
      } else if (c == '&') {
        result += "&amp;";
      } else {
        result += c;
      }
    }
    return result;
  }

  std::string text_;
};

}  // namespace demo
