using System;
using System.Buffers;

namespace XenDM.Monitor;

/// <summary>
/// Finds where one JSON object ends in a stream, without needing line ends: counts braces and brackets outside of strings. It judges no syntax
/// inside the object; the parser does.
/// </summary>
internal struct JsonSplitter
{
    private int _depth;
    private bool _inString;
    private bool _escaped;

    /// <summary>Bytes of the message seen so far.</summary>
    public long Length { get; private set; }

    /// <summary>What the bytes looked at so far are.</summary>
    public enum Outcome
    {
        /// <summary>An object has begun and not ended, or there is only white space.</summary>
        NeedMore,

        /// <summary>An object ends at the position.</summary>
        Complete,

        /// <summary>Something that is no object begins at the position.</summary>
        Garbage,
    }

    /// <summary>Goes on at the first byte that was not looked at yet.</summary>
    /// <param name="position">Where to go on; afterwards behind what was looked at (<see cref="Outcome.Garbage"/>: at the culprit).</param>
    public Outcome Scan(ReadOnlySequence<byte> buffer, ref SequencePosition position)
    {
        var rest = buffer.Slice(position);
        var taken = 0L;
        foreach (var memory in rest)
        {
            foreach (var b in memory.Span)
            {
                if (_depth == 0 && b != (byte)'{')
                {
                    if (b is not ((byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n'))
                    {
                        position = rest.GetPosition(taken);
                        return Outcome.Garbage;
                    }

                    taken++;
                    continue;
                }

                taken++;
                Length++;
                if (!Step(b)) continue;
                position = rest.GetPosition(taken);
                return Outcome.Complete;
            }
        }

        position = buffer.End;
        return Outcome.NeedMore;
    }

    public bool InObject => _depth > 0;

    public void Reset() => this = default;

    /// <returns>True at the end of the outermost object.</returns>
    private bool Step(byte b)
    {
        if (_inString)
        {
            if (_escaped) _escaped = false;
            else if (b == (byte)'\\') _escaped = true;
            else if (b == (byte)'"') _inString = false;
            return false;
        }

        switch (b)
        {
            case (byte)'"': _inString = true; break;
            case (byte)'{' or (byte)'[': _depth++; break;
            case (byte)'}' or (byte)']': return --_depth == 0;
        }

        return false;
    }
}
