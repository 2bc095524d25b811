using System;
using System.IO;
using System.IO.Compression;

namespace XenDM.Vnc.Encodings;

/// <summary>
/// A zlib stream that lasts as long as a connection: what is written is cut off where the client needs all of it, by a sync flush (RFC 1951, an empty
/// stored block), and the dictionary goes on.
/// </summary>
internal sealed class Deflater : IDisposable
{
    private readonly Sink _sink = new();
    private readonly ZLibStream _stream;

    /// <param name="level">0 to 9.</param>
    public Deflater(int level, ZLibCompressionStrategy strategy = ZLibCompressionStrategy.Default) =>
        _stream = new ZLibStream(_sink, new ZLibCompressionOptions { CompressionLevel = level, CompressionStrategy = strategy }, leaveOpen: true);

    public void Write(ReadOnlySpan<byte> data) => _stream.Write(data);

    /// <returns>All that what was written since the last call became; valid until the next write.</returns>
    public ReadOnlySpan<byte> Flush()
    {
        _stream.Flush();
        return _sink.Take();
    }

    public void Dispose()
    {
        _stream.Dispose();
        _sink.Dispose();
    }

    /// <summary>Keeps what the stream puts out until it is taken.</summary>
    private sealed class Sink : Stream
    {
        private byte[] _bytes = new byte[16384];
        private int _length;

        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public ReadOnlySpan<byte> Take()
        {
            var taken = _bytes.AsSpan(0, _length);
            _length = 0;
            return taken;
        }

        public override void Write(ReadOnlySpan<byte> buffer)
        {
            if (_bytes.Length - _length < buffer.Length) Array.Resize(ref _bytes, Math.Max(_bytes.Length * 2, _length + buffer.Length));
            buffer.CopyTo(_bytes.AsSpan(_length));
            _length += buffer.Length;
        }

        public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();
    }
}
