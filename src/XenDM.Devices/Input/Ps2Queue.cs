using System;
using XenDM.Core.State;

namespace XenDM.Devices.Input;

/// <summary>The bytes that a PS/2 device has ready to send: answers to commands first, then its data. Bounded.</summary>
internal sealed class Ps2Queue : IStateful
{
    private const int AnswerBytes = 16;
    private readonly byte[] _data;
    private readonly byte[] _answers = new byte[AnswerBytes];
    private int _dataHead;
    private int _dataCount;
    private int _answerHead;
    private int _answerCount;

    /// <param name="dataBytes">Room for data, a power of two.</param>
    public Ps2Queue(int dataBytes) => _data = new byte[dataBytes];

    public bool IsEmpty => _dataCount + _answerCount == 0;

    public int DataCount => _dataCount;

    /// <summary>Bytes of data that still fit.</summary>
    public int DataRoom => _data.Length - _dataCount;

    /// <summary>An answer that does not fit is lost: the host sent commands without reading.</summary>
    public void Answer(byte value)
    {
        if (_answerCount < AnswerBytes) _answers[(_answerHead + _answerCount++) & (AnswerBytes - 1)] = value;
    }

    /// <summary>Adds data that fits, see <see cref="DataRoom"/>.</summary>
    public void Add(byte value)
    {
        if (_dataCount < _data.Length) _data[(_dataHead + _dataCount++) & (_data.Length - 1)] = value;
    }

    /// <summary>Takes the next byte of a queue that is not empty.</summary>
    public byte Take()
    {
        if (_answerCount > 0)
        {
            var answer = _answers[_answerHead];
            _answerHead = (_answerHead + 1) & (AnswerBytes - 1);
            _answerCount--;
            return answer;
        }

        var value = _data[_dataHead];
        _dataHead = (_dataHead + 1) & (_data.Length - 1);
        _dataCount--;
        return value;
    }

    public void ClearData() => _dataCount = _dataHead = 0;

    public void Clear()
    {
        ClearData();
        _answerCount = _answerHead = 0;
        _data.AsSpan().Clear();
        _answers.AsSpan().Clear();
    }

    public void State(StateVisitor s)
    {
        s.Bytes("data", _data);
        s.I32("data.head", ref _dataHead, 0, _data.Length - 1);
        s.I32("data.count", ref _dataCount, 0, _data.Length);
        s.Bytes("answers", _answers);
        s.I32("answers.head", ref _answerHead, 0, AnswerBytes - 1);
        s.I32("answers.count", ref _answerCount, 0, AnswerBytes);
    }
}
