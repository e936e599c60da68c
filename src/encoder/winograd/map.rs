//! Maps of a few pictures, with the border that a convolution reads around them.

/// Outputs of a tile in height and width.
pub const TILE: usize = 4;

/// `[pictures, height, width, channels]`, f32. Each picture lies in a square that holds a border of
/// zeros around it and is filled up with zeros to whole tiles, so that every tile of 6×6 can be read.
#[derive(Default)]
pub struct Map {
    values: Vec<f32>,
    pub pictures: usize,
    /// Height and width of a picture.
    pub side: usize,
    pub channels: usize,
}

impl Map {
    /// Makes room for maps of another shape. Their border is zero; what is in it is to be written.
    pub fn shape(&mut self, pictures: usize, side: usize, channels: usize) {
        (self.pictures, self.side, self.channels) = (pictures, side, channels);
        let (square, row) = (self.square(), self.row());
        if self.values.len() < pictures * square {
            self.values.resize(pictures * square, 0.0);
        }
        for picture in self.values.chunks_exact_mut(square).take(pictures) {
            for (y, values) in picture.chunks_exact_mut(row).enumerate() {
                if y == 0 || y > side {
                    values.fill(0.0);
                } else {
                    values[..channels].fill(0.0);
                    values[(side + 1) * channels..].fill(0.0);
                }
            }
        }
    }

    /// Tiles that cover a picture's height or width.
    #[inline(always)]
    pub fn tiles(&self) -> usize {
        self.side.div_ceil(TILE)
    }

    /// Numbers from a row to the next.
    #[inline(always)]
    pub fn row(&self) -> usize {
        (self.tiles() * TILE + 2) * self.channels
    }

    /// Numbers from a picture to the next.
    #[inline(always)]
    fn square(&self) -> usize {
        (self.tiles() * TILE + 2) * self.row()
    }

    /// What is read of a picture for the tile in that place: from its upper left corner on, border
    /// included, with [`row`](Self::row) from one of its rows to the next.
    #[inline(always)]
    pub fn tile(&self, picture: usize, y: usize, x: usize) -> &[f32] {
        let at = picture * self.square() + y * TILE * self.row() + x * TILE * self.channels;
        &self.values[at..]
    }

    /// The channels of one place of a picture.
    #[inline(always)]
    pub fn pixel(&mut self, picture: usize, y: usize, x: usize) -> &mut [f32] {
        let at = picture * self.square() + (y + 1) * self.row() + (x + 1) * self.channels;
        &mut self.values[at..at + self.channels]
    }

    /// One row of a picture, without its border.
    pub fn line(&mut self, picture: usize, y: usize) -> &mut [f32] {
        let at = picture * self.square() + (y + 1) * self.row() + self.channels;
        &mut self.values[at..at + self.side * self.channels]
    }

    /// Takes the only picture of `single` as the one at `index` of `pictures`.
    pub fn gather(&mut self, single: &Map, index: usize, pictures: usize) {
        if index == 0 {
            self.shape(pictures, single.side, single.channels);
        }
        let square = self.square();
        self.values[index * square..][..square].copy_from_slice(&single.values[..square]);
    }

    /// The pictures one after another, without their borders.
    pub fn copy_to(&self, out: &mut [f32]) {
        let length = self.side * self.channels;
        for (index, line) in out.chunks_exact_mut(length).enumerate() {
            let (picture, y) = (index / self.side, index % self.side);
            let at = picture * self.square() + (y + 1) * self.row() + self.channels;
            line.copy_from_slice(&self.values[at..at + length]);
        }
    }
}
