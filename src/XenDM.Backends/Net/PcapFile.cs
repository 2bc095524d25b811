using System;
using System.Buffers.Binary;
using System.IO;
using XenDM.Core.Backends;

namespace XenDM.Backends.Net;

/// <summary>
/// A file of frames as they would be on a wire: checksums filled in, TCP cut into segments. The format is pcap 2.4 with microseconds
/// (draft-ietf-opsawg-pcap), link type Ethernet, little endian. Each record is written at once, so that the file is whole whenever the process ends.
/// </summary>
public sealed class PcapFile : IDisposable
{
    private const uint Magic = 0xa1b2c3d4;
    private const int HeaderBytes = 24;
    private const int RecordBytes = 16;
    private const uint LinkEthernet = 1;

    private readonly FileStream _file;
    private readonly int _maxBytes;
    private readonly Action<string> _warn;
    private readonly NetFinisher _finisher = new();
    private readonly byte[] _record = new byte[RecordBytes + NetFinisher.MaxFrame];
    private bool _failed;

    /// <param name="maxBytes">Longer frames are cut in the file.</param>
    /// <param name="warn">Told once when the file cannot be written any more.</param>
    /// <exception cref="NetOpenException">The file cannot be made.</exception>
    public PcapFile(string path, int maxBytes, Action<string> warn)
    {
        Path = path;
        _maxBytes = maxBytes;
        _warn = warn;
        try
        {
            _file = new FileStream(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new NetOpenException($"cannot write '{path}': {e.Message}");
        }

        Span<byte> header = stackalloc byte[HeaderBytes];
        header.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(header, Magic);
        BinaryPrimitives.WriteUInt16LittleEndian(header[4..], 2);
        BinaryPrimitives.WriteUInt16LittleEndian(header[6..], 4);
        BinaryPrimitives.WriteUInt32LittleEndian(header[16..], (uint)maxBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(header[20..], LinkEthernet);
        Append(header);
    }

    public string Path { get; }

    /// <summary>A frame of either direction; one that makes no sense is left out.</summary>
    public void Write(in NetFrame frame, ReadOnlySpan<byte> bytes)
    {
        if (_failed || !_finisher.Begin(frame, bytes, NetOffloads.None)) return;
        var (seconds, rest) = Math.DivRem(DateTime.UtcNow.Ticks - DateTime.UnixEpoch.Ticks, TimeSpan.TicksPerSecond);
        while (_finisher.Next(bytes, out var ready, out _))
        {
            var kept = Math.Min(ready.Length, _maxBytes);
            BinaryPrimitives.WriteUInt32LittleEndian(_record, (uint)seconds);
            BinaryPrimitives.WriteUInt32LittleEndian(_record.AsSpan(4), (uint)(rest / TimeSpan.TicksPerMicrosecond));
            BinaryPrimitives.WriteInt32LittleEndian(_record.AsSpan(8), kept);
            BinaryPrimitives.WriteInt32LittleEndian(_record.AsSpan(12), ready.Length);
            ready[..kept].CopyTo(_record.AsSpan(RecordBytes));
            Append(_record.AsSpan(0, RecordBytes + kept));
        }
    }

    public void Dispose() => _file.Dispose();

    private void Append(ReadOnlySpan<byte> bytes)
    {
        if (_failed) return;
        try
        {
            _file.Write(bytes);
        }
        catch (IOException e)
        {
            // The guest goes on; whoever reads the file sees where it ends.
            _failed = true;
            _warn($"'{Path}' ends here: {e.Message}");
        }
    }
}
